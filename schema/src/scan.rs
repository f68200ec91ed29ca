//! A scan of WIT text before it is parsed: its length, its number of words, its depth of nesting.
//!
//! It does not know WIT's grammar, only its comments, strings and brackets.
//!
//! Invariant: text that passes cannot make a recursive parser recurse deeply or a quadratic one
//! run long; it is linear in the text and holds no more than the findings.

use std::ops::Range;

use object::Diagnostic;
use object::limits::{SCHEMA_BYTES_MAX, SCHEMA_NESTING_MAX, SCHEMA_WORDS_MAX};

/// Returns the limits that the text exceeds.
pub(crate) fn scan(text: &str) -> Vec<Diagnostic> {
    if text.len() > SCHEMA_BYTES_MAX {
        let found = text.len();
        return vec![Diagnostic::whole(format!(
            "the text is {found} bytes long, and may be {SCHEMA_BYTES_MAX}"
        ))];
    }
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0 };
    let (mut words, mut depth) = (0, 0usize);
    let mut findings = Vec::new();
    while let Some((byte, span)) = scanner.next() {
        words += 1;
        if words > SCHEMA_WORDS_MAX {
            let message = format!("more than {SCHEMA_WORDS_MAX} words and signs");
            findings.push(Diagnostic::at(span, message));
            break;
        }
        match byte {
            b'<' | b'(' | b'{' | b'[' => depth += 1,
            b'>' | b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > SCHEMA_NESTING_MAX {
            let message = format!("nested more than {SCHEMA_NESTING_MAX} deep");
            findings.push(Diagnostic::at(span, message));
            break;
        }
    }
    findings
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The next word's first byte, or the next sign, past spaces, comments and the rest of a word.
    fn next(&mut self) -> Option<(u8, Range<usize>)> {
        loop {
            let rest = &self.bytes[self.at..];
            let skipped = match rest {
                [] => return None,
                [b'/', b'/', ..] => until(rest, b"\n"),
                [b'/', b'*', ..] => block_comment(rest),
                [byte, ..] if byte.is_ascii_whitespace() => 1,
                // The arrow is no closing bracket.
                [b'-', b'>', ..] => return Some((b'-', self.take(2))),
                [b'"', ..] => return Some((b'"', self.take(string(rest)))),
                [byte, ..] => {
                    let word = rest.iter().take_while(|&&byte| is_word(byte)).count();
                    return Some((*byte, self.take(word.max(1))));
                }
            };
            self.take(skipped);
        }
    }

    fn take(&mut self, count: usize) -> Range<usize> {
        assert!(count > 0, "a scan goes on with every step, or it would not end");
        let start = self.at;
        self.at = (start + count).min(self.bytes.len());
        start..self.at
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'%') || !byte.is_ascii()
}

/// Bytes up to the end of `mark`, or all.
fn until(text: &[u8], mark: &[u8]) -> usize {
    let found = text.windows(mark.len()).position(|window| window == mark);
    found.map_or(text.len(), |at| at + mark.len())
}

/// Bytes of the comment at the start of `text`: block comments nest.
fn block_comment(text: &[u8]) -> usize {
    assert!(text.starts_with(b"/*"), "a comment opens before it closes");
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Bytes of the string literal at the start of `text`.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}
