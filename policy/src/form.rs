//! The forms of a step's facts, to detect a literal that can never equal one: a key in upper case,
//! a credential that does not exist, a case that an enum does not have.
//!
//! This module does not know Cedar's crate, nor where a literal stands.

use object::limits::{NAME_BYTES_MAX, PAST_VALUES_MAX};
use schema::{Field, Schema, Type};

use crate::argument::{PastArgument, What};
use crate::fact::{Fact, Placed};
use crate::shape::attribute_name;

/// The kinds of credential: the values of `context.credential`.
const CREDENTIALS: [&str; 4] = ["none", "signature", "batch", "session"];
/// Digits of a key, an id or a hash.
const DIGITS: usize = 64;

/// The set of values that a fact may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Any value of its type.
    Any,
    /// 64 lower-case hexadecimal digits: a key, an object's id, or a hash.
    Digits(&'static str),
    /// Lower-case hexadecimal digits, two for each byte.
    Bytes,
    /// A single character.
    Character,
    /// Any of the listed words; the text names their origin.
    OneOf(String, Vec<String>),
    /// A name: a text of at most `NAME_BYTES_MAX` bytes.
    Name,
    /// An integer from the lowest to the highest.
    Integer(i64, i64),
}

impl Form {
    /// Returns the form of an entity's id, by the entity's type.
    pub(super) fn of_entity(ty: &str) -> Form {
        match ty {
            "Key" => Form::Digits("key"),
            "Object" => Form::Digits("object's id"),
            "Anonymous" => Form::OneOf("the id of `Anonymous`".to_string(), vec![String::new()]),
            _ => Form::Any,
        }
    }

    /// Returns the form of the value at a path of an action's context, or of the items of a set
    /// there.
    pub(super) fn at(schema: &Schema, facts: &[&[Placed]], action: &str, path: &[&str]) -> Form {
        match path {
            ["before" | "after", rest @ ..] => of_field(&schema.state().fields, rest),
            ["input", first, rest @ ..] => {
                let params = schema.method(action).map_or(&[][..], |method| &method.params[..]);
                let param = params.iter().find(|param| attribute_name(&param.name) == *first);
                param.map_or(Form::Any, |param| of_part(&param.ty, rest))
            }
            path => {
                let mut facts = facts.iter().flat_map(|facts| facts.iter());
                let found = facts.find(|placed| placed.path == path);
                found.map_or(Form::Any, |placed| Form::of_fact(&placed.fact, schema))
            }
        }
    }

    fn of_fact(fact: &Fact, schema: &Schema) -> Form {
        match fact {
            Fact::Signers => Form::Digits("key"),
            Fact::Credential => {
                let words = CREDENTIALS.map(str::to_string).to_vec();
                Form::OneOf("the credentials".to_string(), words)
            }
            Fact::Receivers => Form::Digits("object's id"),
            Fact::SenderCode | Fact::Code | Fact::UpgradeCode => Form::Digits("hash of code"),
            Fact::SenderPolicy | Fact::SenderFirstPolicy | Fact::Policy | Fact::UpgradePolicy => {
                Form::Digits("hash of a policy")
            }
            Fact::Outputs => Form::Name,
            Fact::Field => {
                let fields = schema.state().fields.iter().map(|field| field.name.clone());
                Form::OneOf("the fields of the state".to_string(), fields.collect())
            }
            Fact::Wake
            | Fact::Seq
            | Fact::Age
            | Fact::Fuel
            | Fact::Time
            | Fact::Instrumentation
            | Fact::Approvals { .. }
            | Fact::Count { .. }
            | Fact::Past(..) => Form::Integer(0, i64::MAX),
            Fact::Pages => Form::Integer(0, u32::MAX.into()),
            Fact::Argument(it) => Form::of_figure(it, schema),
        }
    }

    fn of_figure(figure: &PastArgument, schema: &Schema) -> Form {
        match figure.what {
            What::Sum(_) => Form::Integer(0, i64::MAX),
            What::Distinct(_) => Form::Integer(0, PAST_VALUES_MAX as i64),
            What::Same(_) | What::SameSigner(_) => Form::Any,
            What::Last => {
                let params = schema.method(&figure.action).map(|method| &method.params[..]);
                let mut params = params.unwrap_or_default().iter();
                let param = params.find(|param| param.name == figure.argument);
                param.map_or(Form::Any, |param| of_part(&param.ty, &[]))
            }
        }
    }

    fn of_type(ty: &Type) -> Form {
        let one_of = |of: &str, name: &str, words: &[String]| {
            Form::OneOf(format!("the {of} of `{name}`"), words.to_vec())
        };
        match ty {
            Type::Enum(ty) => one_of("cases", &ty.name, &ty.cases),
            Type::Flags(ty) => one_of("flags", &ty.name, &ty.flags),
            Type::Char => Form::Character,
            Type::U8 => Form::Integer(0, u8::MAX.into()),
            Type::U16 => Form::Integer(0, u16::MAX.into()),
            Type::U32 => Form::Integer(0, u32::MAX.into()),
            Type::U64 => Form::Integer(0, i64::MAX),
            Type::S8 => Form::Integer(i8::MIN.into(), i8::MAX.into()),
            Type::S16 => Form::Integer(i16::MIN.into(), i16::MAX.into()),
            Type::S32 => Form::Integer(i32::MIN.into(), i32::MAX.into()),
            Type::List(item) if matches!(**item, Type::U8) => Form::Bytes,
            Type::List(item) => Form::of_type(item),
            _ => Form::Any,
        }
    }

    /// Returns the fault, and the remedy, of a text that cannot have this form.
    pub(super) fn refuse(&self, text: &str) -> Option<String> {
        match self {
            Form::Digits(what) => (!is_digits(text) || text.len() != DIGITS)
                .then(|| format!("{text:?} is no {what}: {}", instead(text, what))),
            Form::Bytes if !is_digits(text) => Some(format!(
                "a rule compares bytes as lower-case hexadecimal digits, such as \"00ff\", and \
                 {text:?} is not"
            )),
            Form::Bytes if text.len() % 2 == 1 => {
                let digits = text.len();
                Some(format!("{digits} digits are not whole bytes: a byte has two digits"))
            }
            Form::Character if text.chars().count() != 1 => {
                Some(format!("{text:?} is not one character, and the value is a `char`"))
            }
            Form::OneOf(what, words) if !words.iter().any(|word| word == text) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                let is = if words.len() == 1 { "is" } else { "are" };
                Some(format!("the value is never {text:?}: {what} {is} {}", words.join(", ")))
            }
            Form::Name if text.len() > NAME_BYTES_MAX => {
                let (found, max) = (text.len(), NAME_BYTES_MAX);
                Some(format!("no output has a name of {found} bytes: at most {max}"))
            }
            _ => None,
        }
    }

    /// Returns the fault, and the remedy, of a number that cannot have this form.
    pub(super) fn refuse_number(&self, number: i64) -> Option<String> {
        match self {
            Form::Integer(lowest, highest) if !(*lowest..=*highest).contains(&number) => {
                Some(format!("the value is never {number}: it is from {lowest} to {highest}"))
            }
            _ => None,
        }
    }

    /// Returns the fault of a pattern that no text of this form matches. A pattern is its
    /// characters; none stands for a `*`.
    pub(super) fn refuse_pattern(&self, pattern: &[Option<char>]) -> Option<String> {
        let letters = || pattern.iter().flatten();
        let is_fixed = !pattern.contains(&None);
        let never = |why: &str| Some(format!("no value matches this pattern: {why}"));
        match self {
            Form::Digits(_) | Form::Bytes if !letters().all(|&letter| is_digit(letter)) => {
                never("the value is lower-case hexadecimal digits")
            }
            Form::Digits(_) if letters().count() > DIGITS => never("the value has 64 digits"),
            Form::Digits(_) if is_fixed && letters().count() < DIGITS => {
                never("the value has 64 digits: put `*` in place of those that are left out")
            }
            Form::OneOf(what, words) if !words.iter().any(|word| is_like(word, pattern)) => {
                let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                never(&format!("{what} are {}", words.join(", ")))
            }
            Form::Character if letters().count() > 1 => never("the value is one character"),
            _ => None,
        }
    }
}

/// Returns the form of the value that attributes lead to from a record.
fn of_field(fields: &[Field], path: &[&str]) -> Form {
    let Some((first, rest)) = path.split_first() else { return Form::Any };
    let field = fields.iter().find(|field| attribute_name(&field.name) == *first);
    field.map_or(Form::Any, |field| of_part(&field.ty, rest))
}

/// Returns the form of the value that attributes lead to from a value.
fn of_part(ty: &Type, path: &[&str]) -> Form {
    match ty {
        Type::Option(payload) => of_part(payload, path),
        Type::Record(record) => of_field(&record.fields, path),
        ty if path.is_empty() => Form::of_type(ty),
        _ => Form::Any,
    }
}

fn is_digit(letter: char) -> bool {
    matches!(letter, '0'..='9' | 'a'..='f')
}

fn is_digits(text: &str) -> bool {
    text.chars().all(is_digit)
}

/// Returns the remedy for a text that is no key, id or hash.
fn instead(text: &str, what: &str) -> String {
    let bare = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text).trim();
    let lower = bare.to_ascii_lowercase();
    if is_digits(&lower) && lower.len() == DIGITS {
        return format!("write {lower:?}");
    }
    if is_digits(&lower) && !lower.is_empty() {
        return format!("it has {} digits, a {what} has {DIGITS}", lower.len());
    }
    format!("a rule names a {what} by its {DIGITS} lower-case hexadecimal digits, never by a name")
}

/// Returns whether a word matches a pattern.
fn is_like(word: &str, pattern: &[Option<char>]) -> bool {
    let word: Vec<char> = word.chars().collect();
    // True at each place of the word where the pattern so far may end.
    let mut ends = vec![false; word.len() + 1];
    ends[0] = true;
    for element in pattern {
        let mut next = vec![false; word.len() + 1];
        for at in 0..=word.len() {
            next[at] = match element {
                Some(letter) => at > 0 && ends[at - 1] && word[at - 1] == *letter,
                None => ends[at] || (at > 0 && next[at - 1]),
            };
        }
        ends = next;
    }
    ends[word.len()]
}
