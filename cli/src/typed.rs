//! Arguments from words: JSON, or bare words where the schema shows their type.
//!
//! A word is read as JSON of the type first, and if that fails, as the text of a JSON string, so
//! that `2`, `"2"`, `true`, `IAH` and `00ff` all mean what the parameter's type says.
//!
//! This module does not know the callee.

use std::path::Path;

use continuant::object::limits::PAYLOAD_BYTES_MAX;
use continuant::schema::{Param, Schema, Type};
use continuant::{Value, object};
use serde::de::IgnoredAny;
use serde_json::{Number, Value as Json};

use crate::failure::{Failure, Result};
use crate::files;

/// The argument that stands for stdin's content.
const STDIN: &str = "-";
/// The longest file of an argument: JSON text may be several times as long as the encoded value.
const FILE_BYTES_MAX: usize = 8 * PAYLOAD_BYTES_MAX;

/// Reads `word` as a value of `ty`.
///
/// The error says what was expected; it does not name the argument.
fn value(word: &str, ty: &Type) -> Result<Value, object::Error> {
    let document = serde_json::from_str::<Json>(word).ok();
    let typed = document.map(|document| Value::from_json(&document, ty));
    match typed {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => bare(word, ty).map_err(|_| as_typed(word, error)),
        None => bare(word, ty),
    }
}

/// Puts a number into the error as it was typed: parsed JSON keeps only a float's digits.
fn as_typed(word: &str, error: object::Error) -> object::Error {
    let object::ErrorKind::Value { path, expected, found } = error.kind() else { return error };
    let is_it = |number: &&str| {
        serde_json::from_str::<Number>(number).is_ok_and(|read| read.to_string() == *found)
    };
    let Some(number) = numbers(word).into_iter().find(is_it) else { return error };
    let (path, expected, found) = (path.clone(), expected.clone(), number.to_string());
    object::ErrorKind::Value { path, expected, found }.into()
}

/// The numbers in a JSON document, as they are written.
fn numbers(text: &str) -> Vec<&str> {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let (mut numbers, bytes) = (Vec::new(), text.as_bytes());
    let (mut at, mut in_text) = (0, false);
    while at < bytes.len() {
        let byte = bytes[at];
        let starts = !in_text && (byte == b'-' || byte.is_ascii_digit());
        let count = bytes[at..].iter().take_while(|byte| is_of_number(byte)).count();
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => at += 1,
            _ if starts => numbers.extend(text.get(at..at + count)),
            _ => {}
        }
        at += if starts { count } else { 1 };
    }
    numbers
}

/// The items of a JSON array, as they are written; `None` when the text is not one.
pub(crate) fn items(text: &str) -> Option<Vec<&str>> {
    let count = serde_json::from_str::<Vec<IgnoredAny>>(text).ok()?.len();
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (mut items, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut in_text, mut is_escaped) = (false, false);
    for (at, letter) in inside.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if in_text => is_escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(inside[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = inside[start..].trim();
    if !last.is_empty() {
        items.push(last);
    }
    assert_eq!(items.len(), count, "the items are those that the parser found");
    Some(items)
}

/// Expands words: `@FILE` stands for a file's content, `-` for stdin's, both without the line feeds
/// at the end, and `@@` for an `@`.
pub(crate) fn given(words: &[String]) -> Result<Vec<String>> {
    one_stdin(words.iter().map(String::as_str))?;
    words.iter().map(|word| given_word(word)).collect()
}

/// Words `path=value`, with values as [`given`] takes arguments.
pub(crate) fn given_fields(words: &[String]) -> Result<Vec<String>> {
    one_stdin(words.iter().filter_map(|word| Some(word.split_once('=')?.1)))?;
    let field = |word: &String| match word.split_once('=') {
        Some((path, value)) => Ok(format!("{path}={}", given_word(value)?)),
        None => Ok(word.clone()),
    };
    words.iter().map(field).collect()
}

fn one_stdin<'a>(words: impl Iterator<Item = &'a str>) -> Result<()> {
    match words.filter(|word| *word == STDIN).count() {
        0 | 1 => Ok(()),
        _ => Err(Failure::usage("stdin can be only one argument, and - is given twice")),
    }
}

fn given_word(word: &str) -> Result<String> {
    let path = match word.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => return Ok(rest.to_string()),
        Some(path) => path,
        None if word == STDIN => STDIN,
        None => return Ok(word.to_string()),
    };
    let mut text = files::text("reading an argument from", Path::new(path), FILE_BYTES_MAX)?;
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text)
}

fn bare(word: &str, ty: &Type) -> Result<Value, object::Error> {
    Value::from_json(&Json::from(word), ty)
}

/// The arguments of a method.
pub(crate) fn arguments(method: &str, words: &[String], params: &[Param]) -> Result<Vec<Value>> {
    if words.len() != params.len() {
        let names = params.iter().map(|param| format!("{}: {}", param.name, param.ty));
        let names = names.collect::<Vec<_>>().join(", ");
        let (expected, found) = (params.len(), words.len());
        let plural = if expected == 1 { "" } else { "s" };
        let counted = format!("expected {expected} argument{plural}, found {found}");
        return Err(Failure::usage(format!("{method}({names}): {counted}")));
    }
    let read = |(word, param): (&String, &Param)| {
        let value = value(word, &param.ty);
        value.map_err(|error| explain(error, format!("argument {} of {method}", param.name)))
    };
    words.iter().zip(params).map(read).collect()
}

/// Fields' paths and new values, of words `path=value`.
pub(crate) fn fields<'a>(words: &'a [String], schema: &Schema) -> Result<Vec<(&'a str, Value)>> {
    words.iter().map(|word| field(word, schema)).collect()
}

fn field<'a>(word: &'a str, schema: &Schema) -> Result<(&'a str, Value)> {
    let Some((path, text)) = word.split_once('=') else {
        return Err(Failure::usage(format!("expected path=value, found {word:?}")));
    };
    let place = schema.resolve(path)?;
    let value = value(text, place.ty());
    Ok((path, value.map_err(|error| explain(error, format!("field {path}")))?))
}

/// Converts an error about a word into one about the word's purpose.
fn explain(error: object::Error, what: String) -> Failure {
    match error.kind() {
        object::ErrorKind::Value { path, expected, found } => {
            let inside = if path == "itself" { String::new() } else { format!(", {path}") };
            Failure::usage(format!("{what}{inside}: expected {expected}, found {found}"))
        }
        _ => Failure::from(error).about(what),
    }
}

/// A value as people read it in a table: the start of a long one.
pub(crate) fn brief(value: &Value, chars_max: usize) -> String {
    let text = show(value);
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// A value as people read it between others: as [`brief`], but a text in quotes unless it is one
/// word, so that none looks like something else.
pub(crate) fn brief_word(value: &Value, chars_max: usize) -> String {
    let shown = brief(value, chars_max);
    let (Value::String(text) | Value::Enum(text)) = value else { return shown };
    let plain = |letter: char| letter.is_alphanumeric() || "-_.:/@+".contains(letter);
    match !text.is_empty() && text.chars().all(plain) {
        true => shown,
        // Hidden characters are written out when it is printed.
        false => format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Prints a value for people: text unchanged, all else as JSON.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Enum(text) => text.clone(),
        other => other.to_json().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(word: &str, ty: &Type) -> String {
        value(word, ty).expect_err("it is refused").to_string()
    }

    #[test]
    fn whole_numbers_are_exact_or_told_as_typed() {
        let read = |word: &str, ty: &Type| value(word, ty).expect("it is read");
        assert_eq!(read("18446744073709551615", &Type::U64), Value::U64(u64::MAX));
        assert_eq!(read("\"18446744073709551615\"", &Type::U64), Value::U64(u64::MAX));
        assert_eq!(read("-9223372036854775808", &Type::S64), Value::S64(i64::MIN));
        for word in ["18446744073709551616", "1.8446744073709552e+19", "1e3", "1.0", "-1"] {
            let told = told(word, &Type::U64);
            assert!(told.contains(&format!("found {word}")), "{word}: {told}");
        }
        for word in ["+1", "1_000", "0x10", "01", " 1x", "\"\"", "\" 1\"", "\"+1\"", "\"01\""] {
            assert!(value(word, &Type::U64).is_err(), "{word}");
        }
        let list = Type::List(std::sync::Arc::new(Type::U64));
        assert!(told("[1, 18446744073709551616]", &list).contains("found 18446744073709551616"));
    }

    #[test]
    fn items_are_as_they_are_written() {
        let text = r#" [1, "a,]\"[" , [1,{"b":"}"}], 18446744073709551616,null ] "#;
        let items = items(text).expect("it is an array");
        let expected = ["1", r#""a,]\"[""#, r#"[1,{"b":"}"}]"#, "18446744073709551616", "null"];
        assert_eq!(items, expected);
        assert_eq!(super::items("[]"), Some(Vec::new()));
        for wrong in ["", "{}", "[1", "[1,]", "[1] 2", "1"] {
            assert_eq!(super::items(wrong), None, "{wrong}");
        }
        assert_eq!(numbers(r#"[-1.5e+3, "2\"3", {"4": 5}]"#), ["-1.5e+3", "5"]);
    }

    #[test]
    fn a_text_between_others_looks_like_nothing_else() {
        let shown = |text: &str| brief_word(&Value::from(text), 24);
        assert_eq!(shown("IAH"), "IAH");
        assert_eq!(shown("2026-11-29T21:30:22.500Z"), "2026-11-29T21:30:22.500Z");
        assert_eq!(shown("x)  permitted"), "\"x)  permitted\"");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(brief_word(&Value::U64(7), 24), "7");
    }
}
