//! Bad ends of a step: through the guest's own doing, which is a verdict, or through a failure of
//! the host, which is not.
//!
//! This module does not know what is done about either.
//!
//! Invariant: a trap depends on the module, its memory, the step's inputs and its limits, and on
//! nothing else.

use std::fmt;

/// The cause that stopped a guest's step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum Trap {
    /// The step's fuel ran out.
    OutOfFuel,
    /// Calls nested deeper than the stack budget.
    StackExhausted,
    /// An access beyond the end of memory.
    MemoryOutOfBounds,
    /// The guest ran an `unreachable` instruction, as panics and aborts do.
    Unreachable,
    /// An integer division by zero.
    DivideByZero,
    /// An integer division overflowed.
    IntegerOverflow,
    /// A float that is no integer was converted to one.
    BadConversion,
    /// An indirect call through an element that is out of bounds or null.
    UndefinedElement,
    /// An indirect call of a function with another type.
    SignatureMismatch,
    /// A call into the host that the host does not take.
    BadHostCall(BadHostCall),
    /// A limit of the host, tighter than the format's, stopped the step.
    HostLimit(HostLimit),
}

/// The limits in which a host may give a step less than the formats do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HostLimit {
    Fuel,
    Outputs,
    EffectsBytes,
}

/// The fault of a call into the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum BadHostCall {
    /// The start function called the host, although no step would have its effects.
    OutsideStep,
    /// A pointer leads out of memory.
    Pointer,
    /// An output's name is not 1 to 64 bytes of UTF-8.
    Name,
    /// The step has more outputs than a step may have, or more bytes of them.
    OutputLimit,
    /// A wake before 1970.
    NegativeTime,
    /// A path that is no text, too long, or leads to no value that there could be.
    Path,
    /// A message's method is not 1 to 64 bytes of UTF-8.
    Method,
    /// The step has more messages than a step may have, or more bytes of them.
    MessageLimit,
}

/// The substrate or the machine under it failed. It says nothing about the guest: the step may be
/// tried again, here or elsewhere.
#[derive(Debug, Clone)]
pub struct HostFailure {
    message: String,
}

/// The cause for which a step has no result.
#[derive(Debug, Clone)]
pub(crate) enum StepError {
    /// The guest's own doing.
    Trap(Trap),
    /// A failure of the host, not of the guest.
    Host(HostFailure),
}

impl HostFailure {
    pub(super) fn new(message: impl Into<String>) -> HostFailure {
        HostFailure { message: message.into() }
    }

    /// Returns the failure to make an instance, with its most common cause.
    pub(super) fn of_address_space(self) -> HostFailure {
        let HostFailure { message } = self;
        HostFailure::new(format!(
            "{message}: an instance of a code reserves 4 GiB of address space for each of its two \
             memories, which is not memory that is used; a limit of it (`ulimit -v`) must leave \
             room for that"
        ))
    }
}

impl From<wasmtime::Error> for HostFailure {
    fn from(error: wasmtime::Error) -> HostFailure {
        HostFailure::new(format!("{error:#}"))
    }
}

impl StepError {
    /// Distinguishes a trap from a failure. The meters' values distinguish the traps of the
    /// instrumentation from those of the guest.
    pub(super) fn classify(error: wasmtime::Error, fuel: i64, stack: i32) -> StepError {
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return StepError::Trap(*trap);
        }
        let trap = match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::UnreachableCodeReached) if fuel < 0 => Trap::OutOfFuel,
            Some(wasmtime::Trap::UnreachableCodeReached) if stack < 0 => Trap::StackExhausted,
            Some(wasmtime::Trap::UnreachableCodeReached) => Trap::Unreachable,
            Some(wasmtime::Trap::MemoryOutOfBounds) => Trap::MemoryOutOfBounds,
            Some(wasmtime::Trap::IntegerDivisionByZero) => Trap::DivideByZero,
            Some(wasmtime::Trap::IntegerOverflow) => Trap::IntegerOverflow,
            Some(wasmtime::Trap::BadConversionToInteger) => Trap::BadConversion,
            Some(wasmtime::Trap::TableOutOfBounds | wasmtime::Trap::IndirectCallToNull) => {
                Trap::UndefinedElement
            }
            Some(wasmtime::Trap::BadSignature) => Trap::SignatureMismatch,
            _ => return StepError::Host(error.into()),
        };
        StepError::Trap(trap)
    }
}

impl From<HostFailure> for StepError {
    fn from(failure: HostFailure) -> StepError {
        StepError::Host(failure)
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trap::OutOfFuel => "out of fuel",
            Trap::StackExhausted => "stack exhausted",
            Trap::MemoryOutOfBounds => "memory access out of bounds",
            Trap::Unreachable => "unreachable code reached",
            Trap::DivideByZero => "integer division by zero",
            Trap::IntegerOverflow => "integer overflow",
            Trap::BadConversion => "float without an integer value",
            Trap::UndefinedElement => "indirect call of an undefined element",
            Trap::SignatureMismatch => "indirect call of a function of another type",
            Trap::BadHostCall(call) => return write!(f, "host call refused: {call}"),
            Trap::HostLimit(limit) => return write!(f, "a limit of the host: {limit:?}"),
        })
    }
}

impl fmt::Display for BadHostCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadHostCall::OutsideStep => "the start function may not call the host",
            BadHostCall::Pointer => "a pointer beyond the end of memory",
            BadHostCall::Name => "an output name that is not 1 to 64 bytes of utf-8",
            BadHostCall::OutputLimit => "more outputs than a step may have",
            BadHostCall::NegativeTime => "a time before 1970",
            BadHostCall::Path => "a path that leads to no value",
            BadHostCall::Method => "a method that is not 1 to 64 bytes of utf-8",
            BadHostCall::MessageLimit => "more messages than a step may send",
        })
    }
}

impl fmt::Display for HostFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the substrate failed: {}", self.message)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::Trap(trap) => trap.fmt(f),
            StepError::Host(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Trap {}
impl std::error::Error for HostFailure {}
impl std::error::Error for StepError {}
