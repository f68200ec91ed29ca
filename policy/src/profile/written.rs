//! The tokens of a rule's text: its literals and the attributes that it tests for, each with its
//! place. Cedar's trees have no places.
//!
//! This module does not know what they are compared with.

use std::ops::Range;

use super::{Kind, Scan, Token};

/// A literal of a rule, or the name of an attribute behind `has`, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) what: Writ,
    /// The text without quotes and escapes, except `\*`.
    pub(crate) value: String,
    pub(crate) span: Range<usize>,
}

/// The kind of a written token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Writ {
    Text,
    Number,
    /// An entity of a type.
    Entity(String),
    /// An attribute's name behind `has`.
    Has,
}

/// Returns the tokens in the scope and the conditions of the rule at a place of a text that is
/// within the profile.
pub(crate) fn written(text: &str, rule: &Range<usize>) -> Vec<Written> {
    let mut scan = Scan { offset: rule.start, ..Scan::new(text) };
    let mut tokens: Vec<Token<'_>> = Vec::new();
    while let Ok(Some(token)) = scan.next()
        && token.span.start < rule.end
    {
        tokens.push(token);
    }
    let is_effect = |at: usize| {
        matches!(tokens[at].text, "permit" | "forbid") && (at == 0 || tokens[at - 1].text != "@")
    };
    let effect = (0..tokens.len()).find(|&at| is_effect(at)).unwrap_or(tokens.len());
    let mut written = Vec::new();
    let mut has = false;
    for (at, token) in tokens.iter().enumerate().skip(effect) {
        let before = |count: usize| at.checked_sub(count).map_or("", |at| tokens[at].text);
        let is_name = matches!(token.kind, Kind::Word | Kind::Text);
        // A chain of names behind `has`, with dots between them.
        has =
            (before(1) == "has" && !matches!(before(2), "." | "::")) || has && !is_operator(token);
        let (what, start) = match token.kind {
            _ if has && is_name => (Writ::Has, token.span.start),
            Kind::Number => (Writ::Number, token.span.start),
            Kind::Text if before(1) == "::" => {
                let start = tokens[at - 2].span.start;
                (Writ::Entity(before(2).to_string()), start)
            }
            Kind::Text => (Writ::Text, token.span.start),
            _ => continue,
        };
        let quoted = token.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let value = quoted.map_or_else(|| token.text.to_string(), unescape);
        written.push(Written { what, value, span: start..token.span.end });
    }
    written
}

/// Returns whether a token ends a chain of names.
fn is_operator(token: &Token<'_>) -> bool {
    token.text != "." && !matches!(token.kind, Kind::Word | Kind::Text)
        || matches!(token.text, "if" | "then" | "else" | "in" | "like" | "is" | "has")
}

/// Returns the characters that a literal denotes; escapes that Cedar does not accept stay
/// unchanged.
fn unescape(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        found.push_str(&rest[..at]);
        rest = &rest[at..];
        let (letter, bytes) = escape(rest).unwrap_or((None, 1));
        match letter {
            Some(letter) => found.push(letter),
            None => found.push_str(&rest[..bytes]),
        }
        rest = &rest[bytes..];
    }
    found + rest
}

/// The escape that `text` starts with: its character, but for `\*`, and how long it is.
fn escape(text: &str) -> Option<(Option<char>, usize)> {
    let mut letters = text.chars().skip(1);
    let letter = match letters.next()? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0' => '\0',
        plain @ ('\\' | '\'' | '"') => plain,
        '*' => return Some((None, 2)),
        'x' => {
            let digits = text.get(2..4)?;
            let letter = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
            return Some((Some(letter.into()), 4));
        }
        'u' => {
            let digits = text.get(2..)?.strip_prefix('{')?;
            let digits = &digits[..digits.find('}')?];
            let number = u32::from_str_radix(&digits.replace('_', ""), 16).ok()?;
            return Some((Some(char::from_u32(number)?), digits.len() + 4));
        }
        _ => return None,
    };
    Some((Some(letter), 2))
}

/// The first escape in a part of a text that Cedar does not have, if there is one.
pub(crate) fn unknown_escape(text: &str, within: &Range<usize>) -> Option<Range<usize>> {
    let mut rest = text.get(within.clone())?;
    let mut at = within.start;
    while let Some(found) = rest.find('\\') {
        (at, rest) = (at + found, &rest[found..]);
        let Some((_, bytes)) = escape(rest) else {
            let letter = rest.chars().nth(1).map_or(0, char::len_utf8);
            return Some(at..at + 1 + letter);
        };
        (at, rest) = (at + bytes, &rest[bytes..]);
    }
    None
}
