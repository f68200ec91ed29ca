//! A compiled module and the base image that all objects of it start from.
//!
//! This module does not know objects; many slots share one `Code`.
//!
//! Invariant: the base image is a function of the instrumented module alone.

use super::host::Step;
use super::trap::{HostFailure, Trap};
use crate::instrument::{CoreType, FunctionExport, Instrumented};
use object::limits::PAGE_BYTES;
use std::fmt;
use wasmtime::InstancePre;

/// A module that a substrate can run.
pub(crate) struct Code {
    about: Instrumented,
    base: Base,
    pub(super) instance: InstancePre<Step>,
}

/// The memory and globals of a module that was instantiated and started, and did nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Base {
    /// Bytes of memory, a multiple of 64 KiB.
    pub memory_bytes: u64,
    /// The pages that are not all zero, by ascending index. Pages of the dead stack are zero.
    pub pages: Vec<(u32, Box<[u8; PAGE_BYTES]>)>,
    /// Bits of the mutable globals, in index order.
    pub globals: Vec<u64>,
}

/// An exported function of one [`Code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function(pub(super) usize);

/// The reason why a module has no base image.
#[derive(Debug, Clone)]
pub(crate) enum CodeError {
    /// The module's segments do not fit in its memory or table, or its start function trapped.
    Start(Trap),
    /// The host failed, not the module.
    Host(HostFailure),
}

impl Code {
    /// A module without the image that its objects start from, to be started once.
    pub(super) fn new(about: Instrumented, instance: InstancePre<Step>) -> Code {
        Code { about, base: Base::default(), instance }
    }

    /// The module with the image that its objects start from.
    pub(super) fn with_base(self, base: Base) -> Code {
        Code { base, ..self }
    }

    /// Returns the facts about the module. Its bytes are not kept.
    pub(crate) fn about(&self) -> &Instrumented {
        &self.about
    }

    /// The image that objects of this code start from.
    pub(crate) fn base(&self) -> &Base {
        &self.base
    }

    /// The exported function of that name.
    pub(crate) fn function(&self, name: &str) -> Option<Function> {
        self.functions().iter().position(|export| export.name == name).map(Function)
    }

    pub(super) fn functions(&self) -> &[FunctionExport] {
        &self.about.functions
    }

    pub(super) fn globals(&self) -> &[(String, CoreType)] {
        &self.about.globals
    }
}

impl Base {
    /// Reads the image out of a memory, in which everything wholly below `stack_top` is dead.
    pub(super) fn of(memory: &[u8], stack_top: u32, globals: Vec<u64>) -> Base {
        let (pages, rest) = memory.as_chunks::<PAGE_BYTES>();
        assert!(rest.is_empty(), "a memory is whole pages");
        let dead = stack_top as usize / PAGE_BYTES;
        let live = (0u32..).zip(pages).skip(dead);
        let pages = live.filter(|(_, page)| **page != [0; PAGE_BYTES]);
        let pages = pages.map(|(index, page)| (index, Box::new(*page))).collect();
        Base { memory_bytes: memory.len() as u64, pages, globals }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("functions", &self.functions().len()).finish_non_exhaustive()
    }
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodeError::Start(trap) => write!(f, "the module did not start: {trap}"),
            CodeError::Host(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for CodeError {}
