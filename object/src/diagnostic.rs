//! Findings in a text: the fault, its line and column, and the line quoted with a mark below.
//!
//! This is the one place that knows how to show people a place in a text. It does not know what the
//! texts mean.
//!
//! Invariant: a quote is printable, however hostile the text, and at most `QUOTE_CHARS_MAX`
//! characters long.

use std::fmt;
use std::ops::Range;

/// The number of characters of a line that are quoted around a finding.
const QUOTE_CHARS_MAX: usize = 100;
/// The number of those characters in front of the finding.
const BEFORE_CHARS_MAX: usize = 60;

/// A finding in a text, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The fault and its remedy, lower case, without a full stop.
    pub message: String,
    /// Byte range in the text, where one is known.
    pub span: Option<Range<usize>>,
    /// The line and column of the finding, once the text is known.
    pub place: Option<Place>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, the first being 1.
    pub line: usize,
    /// The character in the line, the first being 1.
    pub column: usize,
    /// The line, or a part of it around the place; unprintable characters are escaped.
    pub quote: String,
    /// The characters of the quote that the finding is about, from the first to behind the last.
    pub mark: Range<usize>,
}

impl Diagnostic {
    /// A finding about the text as a whole.
    pub fn whole(message: impl Into<String>) -> Diagnostic {
        Diagnostic { message: message.into(), span: None, place: None }
    }

    /// A finding about `span`, a byte range of the text.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        Diagnostic { message: message.into(), span: Some(span), place: None }
    }

    /// The finding with its place in `text`, which it was found in.
    pub fn in_text(mut self, text: &str) -> Diagnostic {
        self.place = self.span.as_ref().map(|span| Place::of(text, span));
        self
    }

    /// The quoted line and, below it, the mark; none without a place.
    pub fn quoted(&self) -> Option<[String; 2]> {
        let Place { quote, mark, .. } = self.place.as_ref()?;
        let carets = "^".repeat(mark.len().max(1));
        Some([quote.clone(), format!("{}{carets}", " ".repeat(mark.start))])
    }
}

/// Findings with their places in `text`.
pub fn in_text(findings: Vec<Diagnostic>, text: &str) -> Vec<Diagnostic> {
    findings.into_iter().map(|finding| finding.in_text(text)).collect()
}

impl Place {
    /// The place of a byte range, cut to the text and to the line in which it begins.
    fn of(text: &str, span: &Range<usize>) -> Place {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = &text[line_start..];
        let line = rest.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
        let marked = start - line_start..(end - line_start).min(line.len());
        let (quote, mark) = quote(line, &marked);
        Place {
            line: before.bytes().filter(|&byte| byte == b'\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            quote,
            mark,
        }
    }
}

/// Quotes a line, and returns the quote with the characters of the `marked` bytes in it.
fn quote(line: &str, marked: &Range<usize>) -> (String, Range<usize>) {
    let start = marked.start.min(line.len());
    let behind = line[..start].char_indices().rev().nth(BEFORE_CHARS_MAX - 1);
    let from = behind.map_or(0, |(at, _)| at);
    let (mut quote, mut count) = (String::new(), 0);
    let mut mark = None;
    for (at, letter) in line[from..].char_indices().map(|(at, letter)| (from + at, letter)) {
        if at >= start && mark.is_none() {
            mark = Some(count..count);
        }
        let shown = if letter == '\t' { " ".to_string() } else { printed(letter) };
        let letters = shown.chars().count();
        if count + letters > QUOTE_CHARS_MAX {
            break;
        }
        count += letters;
        quote.push_str(&shown);
        if let Some(mark) = mark.as_mut().filter(|_| at < marked.end) {
            mark.end = count;
        }
    }
    (quote, mark.unwrap_or(count..count))
}

/// Returns a text with unprintable characters escaped.
pub fn printable(text: &str) -> String {
    text.chars().map(printed).collect()
}

fn printed(letter: char) -> String {
    match is_plain(letter) {
        true => letter.to_string(),
        false => letter.escape_unicode().to_string(),
    }
}

/// Returns whether a character prints as itself and moves nothing around it.
fn is_plain(letter: char) -> bool {
    let moves = matches!(letter,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}'
            | '\u{feff}');
    !letter.is_control() && !moves
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, &self.span) {
            (Some(place), _) => write!(f, "{}:{}: {}", place.line, place.column, self.message),
            (None, Some(span)) => write!(f, "bytes {}..{}: {}", span.start, span.end, self.message),
            (None, None) => f.write_str(&self.message),
        }
    }
}
