//! The host's side of a step: the functions that guests may call, and the collected effects of
//! their calls.
//!
//! This module does not know what becomes of the effects.
//!
//! Invariant: the memory that a step makes the host hold is bounded by the limits of the formats,
//! and a refused call leaves nothing behind.

use object::hash::{HASH_BYTES, ObjectId};
use object::limits::{
    EFFECTS_BYTES_MAX, FUEL_MAX, MESSAGES_MAX, NAME_BYTES_MAX, OUTPUTS_MAX, PATH_BYTES_MAX,
};
use object::message::Message;
use object::time::Time;
use schema::Unread;
use wasmtime::{Caller, Engine, Global, Linker, Memory, ResourceLimiter, Result, Val};

use super::trap::{BadHostCall, HostLimit, Trap};

/// The context of a step, beside its memory and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepContext {
    /// Claimed time of the input.
    pub now: Time,
    /// The step's limits.
    pub limits: StepLimits,
}

/// The limits of a step's use and effects: at most those of the formats, which are the default; a
/// host may give less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepLimits {
    /// Fuel.
    pub fuel: u64,
    /// Outputs.
    pub outputs: usize,
    /// Bytes of its result, and again of all outputs' names and payloads and all messages' methods
    /// and arguments.
    pub effects_bytes: usize,
}

impl Default for StepLimits {
    fn default() -> StepLimits {
        let (outputs, effects_bytes) = (OUTPUTS_MAX, EFFECTS_BYTES_MAX);
        StepLimits { fuel: FUEL_MAX, outputs, effects_bytes }
    }
}

/// The effects that a step asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// Names and data of the outputs, in the order that they were made.
    pub outputs: Vec<(String, Vec<u8>)>,
    /// Messages, in the order that they were sent.
    pub messages: Vec<Message>,
    /// The last change of the object's next wake, if any.
    pub wake: Option<WakeChange>,
    /// Fuel that the step used; all that it had when it ran out.
    pub fuel_used: u64,
}

/// A change of when an object next wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WakeChange {
    /// The wake is at this time.
    At(Time),
    /// There is no wake.
    Never,
}

/// The source of a guard's answers.
pub(crate) trait Answers: Send {
    /// Writes the value at `path` to `room`, as much of it as fits, and returns its whole length,
    /// if it exists. Its cost is taken from `budget`, in eighths of a unit of fuel.
    fn read(
        &self,
        path: &str,
        room: &mut [u8],
        budget: &mut u64,
    ) -> std::result::Result<Option<u64>, Unread>;
}

/// The state of a store: the step that runs in it.
#[derive(Default)]
pub(super) struct Step {
    /// The guest's memory, once instantiated.
    pub(super) memory: Option<Memory>,
    /// The fuel that is left, once instantiated.
    pub(super) fuel: Option<Global>,
    /// The subject of a guard's step.
    pub(super) question: Option<Box<dyn Answers>>,
    /// True while calls into the host are accepted.
    pub(super) active: bool,
    pub(super) now: Time,
    pub(super) limits: StepLimits,
    pub(super) outputs: Vec<(String, Vec<u8>)>,
    pub(super) messages: Vec<Message>,
    /// Bytes of the outputs and the messages.
    pub(super) effect_bytes: usize,
    pub(super) wake: Option<WakeChange>,
}

impl Step {
    fn require_active(&self) -> Result<(), Trap> {
        if self.active { Ok(()) } else { Err(bad(BadHostCall::OutsideStep)) }
    }

    /// Checks that there is room for one more effect beside `count`, which the formats and the host
    /// limit, and for this many bytes in total. Exceeding the formats' own limit is `limit`.
    fn require_room(
        &self,
        count: usize,
        most: usize,
        hosts_most: usize,
        bytes: usize,
        limit: BadHostCall,
    ) -> Result<(), Trap> {
        if count >= most || bytes > EFFECTS_BYTES_MAX {
            Err(bad(limit))
        } else if count >= hosts_most {
            Err(Trap::HostLimit(HostLimit::Outputs))
        } else if bytes > self.limits.effects_bytes {
            Err(Trap::HostLimit(HostLimit::EffectsBytes))
        } else {
            Ok(())
        }
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
        Ok(i64::try_from(caller.data().now.as_millis()).unwrap_or(i64::MAX))
    })?;
    linker.func_wrap("continuant", "emit", emit)?;
    linker.func_wrap("continuant", "send", send)?;
    linker.func_wrap("continuant", "value", value)?;
    linker.func_wrap(
        "continuant",
        "wake",
        |mut caller: Caller<'_, Step>, at: i64| -> Result<()> {
            caller.data().require_active()?;
            let at = u64::try_from(at).map_err(|_| bad(BadHostCall::NegativeTime))?;
            caller.data_mut().wake = Some(WakeChange::At(Time::from_millis(at)));
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
    let (name, data) = (slice(memory, name, name_bytes)?, slice(memory, data, data_bytes)?);
    let name = text(name).ok_or(bad(BadHostCall::Name))?;
    let effect_bytes = step.effect_bytes + name.len() + data.len();
    let limit = BadHostCall::OutputLimit;
    step.require_room(step.outputs.len(), OUTPUTS_MAX, step.limits.outputs, effect_bytes, limit)?;
    step.effect_bytes = effect_bytes;
    step.outputs.push((name.to_owned(), data.to_owned()));
    Ok(())
}

fn send(
    mut caller: Caller<'_, Step>,
    to: u32,
    method: u32,
    method_bytes: u32,
    arguments: u32,
    arguments_bytes: u32,
) -> Result<()> {
    caller.data().require_active()?;
    let memory = caller.data().memory.expect("a step runs in an instance with a memory");
    let (memory, step) = memory.data_and_store_mut(&mut caller);
    let to = slice(memory, to, HASH_BYTES as u32)?;
    let to = ObjectId(to.try_into().expect("so many bytes were asked for"));
    let method = text(slice(memory, method, method_bytes)?).ok_or(bad(BadHostCall::Method))?;
    let arguments = slice(memory, arguments, arguments_bytes)?;
    let effect_bytes = step.effect_bytes + method.len() + arguments.len();
    let (most, limit) = (MESSAGES_MAX, BadHostCall::MessageLimit);
    step.require_room(step.messages.len(), most, most, effect_bytes, limit)?;
    step.effect_bytes = effect_bytes;
    let (method, arguments) = (method.to_owned(), arguments.to_owned());
    step.messages.push(Message { to, method, arguments });
    Ok(())
}

/// A name: 1 to 64 bytes of UTF-8.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    (1..=NAME_BYTES_MAX).contains(&text.len()).then_some(text)
}

/// Eighths of a unit of fuel.
const EIGHTHS: u64 = 8;

fn value(
    mut caller: Caller<'_, Step>,
    path: u32,
    path_bytes: u32,
    room: u32,
    room_bytes: u32,
) -> Result<i32> {
    let step = caller.data();
    let instantiated = "a step runs in an instance";
    let (memory, fuel) = (step.memory.expect(instantiated), step.fuel.expect(instantiated));
    let left = fuel.get(&mut caller).unwrap_i64();
    let mut budget = left.max(0).cast_unsigned().saturating_mul(EIGHTHS);
    let (memory, step) = memory.data_and_store_mut(&mut caller);
    let question = step.question.as_ref().ok_or(bad(BadHostCall::OutsideStep))?;
    // The room may lie over the path.
    let mut copied = [0; PATH_BYTES_MAX];
    let path = slice(memory, path, path_bytes)?;
    let copied = copied.get_mut(..path.len()).ok_or(bad(BadHostCall::Path))?;
    copied.copy_from_slice(path);
    let path = std::str::from_utf8(copied).map_err(|_| bad(BadHostCall::Path))?;
    slice(memory, room, room_bytes)?;
    let room = &mut memory[room as usize..][..room_bytes as usize];
    let read = question.read(path, room, &mut budget);
    let left = match read {
        Err(Unread::Budget) => -1,
        _ => (budget / EIGHTHS).cast_signed(),
    };
    fuel.set(&mut caller, Val::I64(left))?;
    match read {
        Ok(None) => Ok(-1),
        Ok(Some(length)) => Ok(i32::try_from(length).expect("a budget pays for less")),
        Err(Unread::Budget) => Err(Trap::OutOfFuel.into()),
        Err(Unread::Path) => Err(bad(BadHostCall::Path).into()),
    }
}

fn slice(memory: &[u8], address: u32, bytes: u32) -> Result<&[u8], Trap> {
    let start = address as usize;
    let end = start.checked_add(bytes as usize);
    end.and_then(|end| memory.get(start..end)).ok_or(bad(BadHostCall::Pointer))
}

fn bad(call: BadHostCall) -> Trap {
    Trap::BadHostCall(call)
}
