//! Arguments from words: JSON, or bare words where the schema makes clear what they are.
//!
//! A word is read as JSON of the type first, and as the text of a JSON string where that fails, so
//! that `2`, `"2"`, `true`, `IAH` and `00ff` all mean what the parameter's type says.
//!
//! It does not know what is called with them.

use continuant::object::schema::{Param, Schema, Type};
use continuant::{Value, object};
use serde_json::Value as Json;

use crate::failure::{Failure, Result};

/// The value of `ty` that `word` stands for.
///
/// The error says what was expected; it does not say of what.
fn value(word: &str, ty: &Type) -> Result<Value, object::Error> {
    let document = serde_json::from_str::<Json>(word).ok();
    let typed = document.map(|document| Value::from_json(&document, ty));
    match typed {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => bare(word, ty).map_err(|_| error),
        None => bare(word, ty),
    }
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

/// An error about a word as one about what the word is for.
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

/// A value as people read it: text as it is, all else as JSON.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Enum(text) => text.clone(),
        other => other.to_json().to_string(),
    }
}
