//! Foreign text made safe to show: characters that a terminal obeys, or a person cannot see, are
//! written out, as `\n` or `\u{1b}`.
//!
//! This module does not know where text comes from nor where it goes. Its output is for people: a
//! text that has `\n` in it as two characters looks the same as a line break, and `--json`
//! distinguishes them.
//!
//! Invariant: the output has no character that [`is_hidden`], except the line breaks and tabs that
//! [`lines`] keeps.

use std::borrow::Cow;
use std::fmt::Write;

/// Characters that nobody sees, or that set how others are shown, beside the controls: first and
/// last of each range. They are Unicode's category Cf, and those that may be ignored when a text is
/// shown.
const HIDDEN: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Returns whether a terminal obeys a character or nobody sees it: a control, a mark of direction,
/// a separator of lines, a format character.
pub(crate) fn is_hidden(letter: char) -> bool {
    let within = |(first, last): &(char, char)| (*first..=*last).contains(&letter);
    letter.is_control() || (letter >= '\u{ad}' && HIDDEN.iter().any(within))
}

/// The text in one line, with nothing hidden in it.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false, plain)
}

/// Returns the text, line by line, with nothing hidden in its lines.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |letter| matches!(letter, '\n' | '\t'), plain)
}

/// A JSON document with nothing hidden in it: the same document, as JSON's own escapes say it.
pub(crate) fn json(document: &str) -> Cow<'_, str> {
    escaped(
        document,
        |_| false,
        |letter, text| {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                write!(text, "\\u{unit:04x}").expect("a string takes all");
            }
        },
    )
}

fn plain(letter: char, text: &mut String) {
    text.extend(letter.escape_default());
}

fn escaped(
    text: &str,
    is_kept: impl Fn(char) -> bool,
    escape: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    let is_escaped = |letter: char| is_hidden(letter) && !is_kept(letter);
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_escaped(letter) {
            true => escape(letter, &mut shown),
            false => shown.push(letter),
        }
    }
    debug_assert!(!shown.chars().any(is_escaped), "an escape hides nothing in its turn");
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        let table = [
            ("plain, naïve, 日本", "plain, naïve, 日本"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{7f}\u{9b}2J", "\\u{7f}\\u{9b}2J"),
            ("\u{202e}live\u{2066}", "\\u{202e}live\\u{2066}"),
            ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
            ("o\u{200b}wner\u{200d}\u{feff}", "o\\u{200b}wner\\u{200d}\\u{feff}"),
            ("\0\u{e0041}", "\\u{0}\\u{e0041}"),
            ("back\\slash 'n \"quotes\"", "back\\slash 'n \"quotes\""),
        ];
        for (text, shown) in table {
            assert_eq!(line(text), shown);
            assert_eq!(line(&line(text)), shown, "it is escaped once");
        }
        assert_eq!(lines("a\n\tb\u{1b}\r\n"), "a\n\tb\\u{1b}\\r\n");
    }

    #[test]
    fn no_control_is_left_of_any_character() {
        for letter in '\0'..=char::MAX {
            let shown = line(letter.encode_utf8(&mut [0; 4])).into_owned();
            assert!(!shown.chars().any(|letter| is_hidden(letter) || letter.is_control()));
            assert_eq!(is_hidden(letter), shown.chars().count() > 1, "{letter:?}");
        }
    }

    #[test]
    fn a_document_stays_the_same_document() {
        let text = "\u{1b}\u{7f}\u{9b}\u{202e}\u{2028}\u{e0041}é";
        let document = serde_json::json!({ "text": text }).to_string();
        let shown = json(&document);
        assert!(shown.chars().all(|letter| !is_hidden(letter)), "{shown}");
        let read: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
        assert_eq!(read["text"], text);
    }
}
