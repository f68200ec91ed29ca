//! The host's side of a step: what guests may call, and what is collected of their calls.
//!
//! It does not know what becomes of the effects.
//!
//! Invariant: what a step makes the host hold is bounded by the limits of the formats, and a call
//! that is refused leaves nothing behind.

use super::trap::{BadHostCall, Trap};
use object::limits::{EFFECTS_BYTES_MAX, NAME_BYTES_MAX, OUTPUTS_MAX};
use wasmtime::{Caller, Engine, Linker, Memory, ResourceLimiter, Result};

/// What a step is given beside its memory and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepContext {
    /// Claimed time of the input, in milliseconds since 1970-01-01 UTC.
    pub now: u64,
    /// The most fuel that the step may use.
    pub fuel: u64,
}

/// What a step asked of the world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Names and data of the outputs, in the order that they were made.
    pub outputs: Vec<(String, Vec<u8>)>,
    /// The last change of the object's next wake, if any.
    pub wake: Option<WakeChange>,
    /// Fuel that the step used; all that it had when it ran out.
    pub fuel_used: u64,
}

/// A change of when an object next wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakeChange {
    /// At this time, in milliseconds since 1970-01-01 UTC.
    At(u64),
    /// Not by itself.
    Never,
}

/// The state of a store: the step that runs in it.
#[derive(Default)]
pub(super) struct Step {
    /// The guest's memory, once instantiated.
    pub(super) memory: Option<Memory>,
    /// Whether calls into the host are taken.
    pub(super) active: bool,
    pub(super) now: u64,
    pub(super) outputs: Vec<(String, Vec<u8>)>,
    pub(super) output_bytes: usize,
    pub(super) wake: Option<WakeChange>,
}

impl Step {
    fn require_active(&self) -> Result<(), Trap> {
        if self.active { Ok(()) } else { Err(bad(BadHostCall::OutsideStep)) }
    }
}

impl ResourceLimiter for Step {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        Ok(maximum.is_none_or(|maximum| desired <= maximum))
    }
}

/// The functions that modules may import.
pub(super) fn linker(engine: &Engine) -> Result<Linker<Step>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("continuant", "now", |caller: Caller<'_, Step>| -> Result<i64> {
        caller.data().require_active()?;
        Ok(i64::try_from(caller.data().now).unwrap_or(i64::MAX))
    })?;
    linker.func_wrap("continuant", "emit", emit)?;
    linker.func_wrap(
        "continuant",
        "wake",
        |mut caller: Caller<'_, Step>, at: i64| -> Result<()> {
            caller.data().require_active()?;
            let at = u64::try_from(at).map_err(|_| bad(BadHostCall::NegativeTime))?;
            caller.data_mut().wake = Some(WakeChange::At(at));
            Ok(())
        },
    )?;
    linker.func_wrap("continuant", "sleep", |mut caller: Caller<'_, Step>| -> Result<()> {
        caller.data().require_active()?;
        caller.data_mut().wake = Some(WakeChange::Never);
        Ok(())
    })?;
    Ok(linker)
}

fn emit(
    mut caller: Caller<'_, Step>,
    name: u32,
    name_bytes: u32,
    data: u32,
    data_bytes: u32,
) -> Result<()> {
    caller.data().require_active()?;
    let memory = caller.data().memory.expect("a step runs in an instance with a memory");
    let (memory, step) = memory.data_and_store_mut(&mut caller);
    let name = slice(memory, name, name_bytes)?;
    let data = slice(memory, data, data_bytes)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(bad(BadHostCall::Name).into());
    }
    let name = std::str::from_utf8(name).map_err(|_| bad(BadHostCall::Name))?;
    let output_bytes = step.output_bytes + name.len() + data.len();
    if step.outputs.len() >= OUTPUTS_MAX || output_bytes > EFFECTS_BYTES_MAX {
        return Err(bad(BadHostCall::OutputLimit).into());
    }
    step.output_bytes = output_bytes;
    step.outputs.push((name.to_owned(), data.to_owned()));
    Ok(())
}

fn slice(memory: &[u8], address: u32, bytes: u32) -> Result<&[u8], Trap> {
    let start = address as usize;
    let end = start.checked_add(bytes as usize);
    end.and_then(|end| memory.get(start..end)).ok_or(bad(BadHostCall::Pointer))
}

fn bad(call: BadHostCall) -> Trap {
    Trap::BadHostCall(call)
}
