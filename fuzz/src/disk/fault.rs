//! Faults of a disk in use: which operation fails, how, and whether it did.
//!
//! This module does not know what an operation does.
//!
//! Invariant: a planned fault fires at the operation with its number, or never because the
//! workload ends before.

use std::io;
use std::path::Path;

/// The kind of an operation, as far as it matters for how it can fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Names and lengths are read, or an existing file is opened.
    Look,
    Read,
    Write,
    /// A length.
    Resize,
    /// Room is requested; a smaller request may succeed.
    Allocate,
    Sync,
    /// A name is made, changed or removed.
    Name,
    SyncDirectory,
}

/// A way in which operations fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// An input or output error; the bytes of a failed sync are gone, though still read.
    Io,
    /// No space.
    Full,
    /// A write that writes less than it was given.
    Short,
    /// A sync that fails; its bytes are gone, and no longer read either.
    Evicted,
    /// Interrupted by a signal before anything was done.
    Interrupted,
    /// The power is cut; the bytes of a write may be kept.
    Cut,
}

impl Fault {
    /// Returns whether an operation of this kind can fail in this way.
    fn concerns(self, kind: Kind) -> bool {
        match self {
            Fault::Io | Fault::Cut => true,
            // Requests for room fail by the disk's limit, because a smaller one may succeed.
            Fault::Full => !matches!(kind, Kind::Look | Kind::Read | Kind::Allocate),
            Fault::Short => kind == Kind::Write,
            Fault::Evicted => kind == Kind::Sync,
            Fault::Interrupted => matches!(kind, Kind::Read | Kind::Write),
        }
    }

    pub(crate) fn error(self) -> io::Error {
        // A kind alone is not enough: the store has to keep the system's message.
        match self {
            Fault::Full => io::Error::new(io::ErrorKind::StorageFull, "injected"),
            Fault::Interrupted => io::Error::new(io::ErrorKind::Interrupted, "injected"),
            _ => io::Error::other("injected"),
        }
    }
}

/// A fault that is to fire.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// The number of the operation, among those that can fail so.
    pub(crate) at: u64,
    /// True if all operations after it fail as well.
    pub(crate) for_ever: bool,
    /// Only operations on files and directories whose path ends with this.
    pub(crate) only: &'static str,
}

/// The faults of a disk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: Option<Plan>,
    /// Operations that could have failed so far.
    passed: u64,
    fired: u64,
}

impl Faults {
    pub(crate) fn plan(&mut self, plan: Option<Plan>) {
        *self = Faults { plan, passed: 0, fired: 0 };
    }

    /// Returns how often the fault fired.
    pub(crate) fn fired(&self) -> u64 {
        self.fired
    }

    /// The fault that an operation is to have.
    pub(crate) fn next(&mut self, kind: Kind, path: &Path) -> Option<Fault> {
        let plan = self.plan.as_ref()?;
        let is_of = path.as_os_str().as_encoded_bytes().ends_with(plan.only.as_bytes());
        if !plan.fault.concerns(kind) || !is_of {
            return None;
        }
        let number = self.passed;
        self.passed += 1;
        let fires = if plan.for_ever { number >= plan.at } else { number == plan.at };
        self.fired += u64::from(fires);
        fires.then_some(plan.fault)
    }
}
