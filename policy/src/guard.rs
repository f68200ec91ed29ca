//! Guards: a policy may carry, beside its rules, a WebAssembly module that must permit a step as
//! well. This module holds all that a guard may ask about the step.
//!
//! It does not know how a module is run, nor whether bytes are one: an implementation of [`Guards`]
//! runs it.
//!
//! Invariant: a guard can read only the record of a step, so that the answers are the same whenever
//! it is run again.

use std::ops::Range;
use std::sync::Arc;

use object::codec::{Reader, Write};
use object::hash::{CodeHash, PolicyHash};
use object::input::Request;
use object::limits::{GUARD_BYTES_MAX, PAYLOAD_VALUES_MAX};
use object::memory::Memory;
use object::refusal::{Reason, Verdict};
use object::{Error, Result};
use schema::{Param, Schema, Sink, Type, Unread, is_named, skip_value};

use crate::fact::{FactValue, OF_UPGRADE, PLAIN};
use crate::facts::Facts;

/// A guard's module, as it was given. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    wasm: Arc<[u8]>,
    hash: CodeHash,
}

impl Guard {
    /// Returns the guard of these bytes, whether or not they are a module.
    ///
    /// # Errors
    ///
    /// `Decode` when there are no bytes, or more than [`GUARD_BYTES_MAX`].
    pub fn new(wasm: &[u8]) -> Result<Guard> {
        if wasm.is_empty() || wasm.len() > GUARD_BYTES_MAX {
            let expected = format!("a module of 1 to {GUARD_BYTES_MAX} bytes");
            return Err(Error::decode("guard", 0, expected, format!("{} bytes", wasm.len())));
        }
        Ok(Guard { wasm: wasm.into(), hash: CodeHash::of(wasm) })
    }

    /// The module's bytes.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// Returns the hash of the module.
    pub fn hash(&self) -> CodeHash {
        self.hash
    }

    /// The verdict of a guard that refuses by returning `code`, which is not 0.
    pub fn refuses(code: i32) -> Verdict {
        Verdict::new(Reason::Guard, Vec::new(), format!("code {code}"))
    }

    /// Returns the verdict of a guard that traps; `trap` must be a stable description.
    pub fn traps(trap: impl std::fmt::Display) -> Verdict {
        Verdict::new(Reason::Guard, Vec::new(), format!("trap: {trap}"))
    }
}

/// A host that can run guards, on steps between memories of these types.
pub trait Guards<B: ?Sized, A: ?Sized> {
    /// The cause for which a step is not permitted: a verdict, or a failure that kept the guard
    /// from one.
    type Stop: From<Verdict>;

    /// Asks a guard whether it permits the step from `before` to `after`.
    ///
    /// # Errors
    ///
    /// The verdict, when it does not, of [`Guard::refuses`] or [`Guard::traps`].
    fn ask(
        &mut self,
        guard: &Guard,
        evidence: Evidence,
        before: &B,
        after: &A,
    ) -> Result<(), Self::Stop>;
}

/// Guards that cannot be run here: their recorded permits are taken on trust.
#[derive(Clone, Copy, Debug)]
pub struct NotAsked;

impl<B: ?Sized, A: ?Sized> Guards<B, A> for NotAsked {
    type Stop = Verdict;

    fn ask(&mut self, _: &Guard, _: Evidence, _: &B, _: &A) -> Result<(), Verdict> {
        Ok(())
    }
}

/// All that a guard may ask about a step, but for the memories before and after.
#[derive(Clone, Debug)]
pub struct Evidence {
    schema: Schema,
    state: u32,
    params: Vec<Param>,
    arguments: Vec<u8>,
    /// The range of each argument in `arguments`.
    places: Vec<Range<usize>>,
    /// Each fact by its path, as a payload, if it is there.
    facts: Vec<(&'static str, Option<Vec<u8>>)>,
}

impl Evidence {
    /// Collects the evidence about a step that `request` asked for.
    pub(crate) fn of(
        schema: &Schema,
        state: u32,
        facts: &Facts<'_>,
        request: &Request,
    ) -> Result<Evidence> {
        let schema = schema.clone();
        let (params, arguments) = match request.called() {
            Some((method, arguments)) => {
                (schema.require_method(method)?.params.clone(), arguments.to_vec())
            }
            None => (Vec::new(), Vec::new()),
        };
        let mut reader = Reader::new("arguments", &arguments);
        let (mut places, mut left) = (Vec::with_capacity(params.len()), PAYLOAD_VALUES_MAX);
        for param in &params {
            let start = arguments.len() - reader.left();
            skip_value(&mut reader, &param.ty, &mut left)?;
            places.push(start..arguments.len() - reader.left());
        }
        reader.end()?;
        let text = |text: &str| Some(texts([text].into_iter(), false));
        let mut known =
            vec![("action", text(facts.action)), ("principal", text(&facts.principal.to_string()))];
        let own = match facts.upgrade {
            Some(_) => &OF_UPGRADE[..],
            None => &[],
        };
        known.extend(PLAIN.iter().chain(own).map(|(path, fact)| {
            let value = fact.value(facts).expect("a plain fact needs no look at the state");
            (*path, encode(value))
        }));
        Ok(Evidence { schema, state, params, arguments, places, facts: known })
    }

    /// Writes the value at `path` to `room`, as much of it as fits, and returns its whole length;
    /// none, when it does not exist. ABI.md lists the paths. Takes from `budget` 1 for each byte of
    /// the value, and 8 for each value and each name examined.
    ///
    /// # Errors
    ///
    /// [`Unread`].
    pub fn read(
        &self,
        before: &(impl Memory + ?Sized),
        after: &(impl Memory + ?Sized),
        path: &str,
        room: &mut [u8],
        budget: &mut u64,
    ) -> Result<Option<u64>, Unread> {
        let mut sink = Sink::new(room, budget);
        let (root, rest) = match path.split_once('.') {
            Some((root, rest)) => (root, Some(rest)),
            None => (path, None),
        };
        let found = match (root, rest) {
            ("before", _) => self.schema.transcribe(before, self.state, rest, &mut sink)?,
            ("after", _) => self.schema.transcribe(after, self.state, rest, &mut sink)?,
            ("input", Some(name)) => self.argument(name, &mut sink)?,
            _ => {
                let known = self.facts.iter().find(|(known, _)| *known == path);
                put(known.ok_or(Unread::Path)?.1.as_deref(), &mut sink)?
            }
        };
        Ok(found.then(|| sink.length()))
    }

    /// Writes the argument of that name, if the action has such a parameter.
    fn argument(&self, name: &str, sink: &mut Sink<'_>) -> Result<bool, Unread> {
        if name.contains('.') {
            return Err(Unread::Path);
        }
        sink.spend(self.params.len())?;
        let Some(index) = self.params.iter().position(|param| is_named(&param.name, name)) else {
            return Ok(false);
        };
        let mut bytes = &self.arguments[self.places[index].clone()];
        let mut ty = &self.params[index].ty;
        while let Type::Option(payload) = ty {
            let Some((1, rest)) = bytes.split_first() else { return Ok(false) };
            (bytes, ty) = (rest, payload);
        }
        put(Some(bytes), sink)
    }
}

fn put(value: Option<&[u8]>, sink: &mut Sink<'_>) -> Result<bool, Unread> {
    sink.spend(1)?;
    value.map_or(Ok(false), |bytes| sink.put(bytes).map(|()| true))
}

/// A fact as a payload: a `u64`, a `string` or a `list<string>`.
fn encode(value: FactValue<'_>) -> Option<Vec<u8>> {
    Some(match value {
        // No plain fact has a value of the last of these.
        FactValue::Absent
        | FactValue::Bool(_)
        | FactValue::Negative(_)
        | FactValue::Bytes(_)
        | FactValue::Unknown
        | FactValue::TooLong => return None,
        FactValue::Number(number) => number.to_le_bytes().to_vec(),
        FactValue::Keys(keys) => texts(keys.iter().map(ToString::to_string), true),
        FactValue::Names(outputs) => texts(outputs.iter().map(|it| it.name.as_str()), true),
        FactValue::Receivers(sent) => texts(sent.iter().map(|it| it.to.to_string()), true),
        FactValue::Text(text) => texts([text].into_iter(), false),
        FactValue::Hash(hash) => texts([PolicyHash(*hash).to_string()].into_iter(), false),
    })
}

/// Texts, one behind the other, behind their count if they are a list.
fn texts(texts: impl ExactSizeIterator<Item: AsRef<str>>, counted: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if counted {
        bytes.put_u32(texts.len() as u32);
    }
    texts.for_each(|text| {
        let text = text.as_ref().as_bytes();
        bytes.put_u32(text.len() as u32).put(text);
    });
    bytes
}
