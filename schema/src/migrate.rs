//! Migration: checks that code accepts the states of another schema.
//!
//! A module that an object can be upgraded to declares the old state as the parameter of its
//! function `migrate`: a record that has the fields of that state, by the same names, of the same
//! types, in the same order. The names of record types, variant types and so on do not matter, only
//! the names in them.
//!
//! This module does not know values, nor how the function is called.

use std::fmt;

use crate::fault::{Fault, Result};
use crate::types::Type;

/// Checks that values of type `state` are values of type `taken`, and lie in memory in the same
/// way; the error names the first difference.
pub(super) fn validate(taken: &Type, state: &Type) -> Result<()> {
    match (taken, state) {
        (Type::List(taken), Type::List(state)) => validate(taken, state).map_err(inside("items")),
        (Type::Option(taken), Type::Option(state)) => {
            validate(taken, state).map_err(inside("some"))
        }
        (Type::Record(taken), Type::Record(state)) => {
            let fields = |fields: &'_ [crate::types::Field]| -> Vec<_> {
                fields.iter().map(|field| (field.name.clone(), Some(field.ty.clone()))).collect()
            };
            parts("fields", &fields(&taken.fields), &fields(&state.fields))
        }
        (Type::Tuple(taken), Type::Tuple(state)) => {
            let items = |items: &[(Type, u32)]| -> Vec<_> {
                let items = items.iter().enumerate();
                items.map(|(index, (ty, _))| (index.to_string(), Some(ty.clone()))).collect()
            };
            parts("items", &items(&taken.items), &items(&state.items))
        }
        (Type::Variant(taken), Type::Variant(state)) => {
            let cases = |cases: &[crate::types::Case]| -> Vec<_> {
                cases.iter().map(|case| (case.name.clone(), case.payload.clone())).collect()
            };
            parts("cases", &cases(&taken.cases), &cases(&state.cases))
        }
        (Type::Result(taken), Type::Result(state)) => {
            let both = |ty: &crate::types::ResultType| {
                [("ok".to_string(), ty.ok.clone()), ("err".to_string(), ty.err.clone())]
            };
            parts("cases", &both(taken), &both(state))
        }
        (Type::Enum(taken), Type::Enum(state)) => {
            parts("cases", &names(&taken.cases), &names(&state.cases))
        }
        (Type::Flags(taken), Type::Flags(state)) => {
            parts("flags", &names(&taken.flags), &names(&state.flags))
        }
        (taken, state) if is_same_scalar(taken, state) => Ok(()),
        (taken, state) => Err(Fault::new(taken, state)),
    }
}

/// A part of a type: its name, and its type, if it has one.
type Part = (String, Option<Type>);

fn parts(what: &str, taken: &[Part], state: &[Part]) -> Result<()> {
    for ((taken_name, taken), (name, state)) in taken.iter().zip(state) {
        if taken_name != name {
            return Err(Fault::new(taken_name, name));
        }
        match (taken, state) {
            (Some(taken), Some(state)) => validate(taken, state).map_err(inside(name))?,
            (None, None) => {}
            (taken, state) => {
                return Err(Fault::new(or_nothing(taken), or_nothing(state)).within(name));
            }
        }
    }
    match taken.len() == state.len() {
        true => Ok(()),
        false => {
            let count = |parts: &[Part]| format!("{} {what}", parts.len());
            Err(Fault::new(count(taken), count(state)))
        }
    }
}

fn names(names: &[String]) -> Vec<Part> {
    names.iter().map(|name| (name.clone(), None)).collect()
}

fn or_nothing(ty: &Option<Type>) -> String {
    ty.as_ref().map_or("nothing".to_string(), ToString::to_string)
}

fn inside(part: impl fmt::Display) -> impl FnOnce(Fault) -> Fault {
    move |fault| fault.within(part)
}

fn is_same_scalar(one: &Type, other: &Type) -> bool {
    use Type::*;
    matches!(
        (one, other),
        (Bool, Bool)
            | (U8, U8)
            | (U16, U16)
            | (U32, U32)
            | (U64, U64)
            | (S8, S8)
            | (S16, S16)
            | (S32, S32)
            | (S64, S64)
            | (F32, F32)
            | (F64, F64)
            | (Char, Char)
            | (String, String)
    )
}
