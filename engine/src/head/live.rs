//! The live object: its newest version, as its next step needs it, and the state of its wake.
//!
//! This module does not know where the object waits, nor who works on it.
//!
//! Invariant: `image` and `globals` are those that the head's header names, unless `stale` is set.

use std::sync::Arc;

use object::effects::globals_hash;
use object::hash::{MemoryRoot, VersionHash};
use object::head::{Head, Outcome};
use object::header::Header;
use object::image::Image;
use object::ledger::Ledger;
use object::memory::Memory as _;
use object::time::Time;
use policy::definition::Definition;

use crate::head::missed::{Cause, Missed};
use crate::head::refusal_quota::RefusalCounts;
use crate::step::catalog::Runnable;
use crate::step::step::{NewCode, StepResult, Subject};
use crate::substrate::StepLimits;

/// An object with all that making its next version takes.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) definition: Arc<Definition>,
    pub(crate) runnable: Arc<Runnable>,
    pub(crate) head: Head,
    pub(crate) image: Image,
    pub(crate) globals: Vec<u64>,
    /// The head's wake, if it was due and made no version.
    pub(crate) missed: Option<Box<Missed>>,
    /// The refusals on record by party; read once there is one more, which most objects never have.
    pub(crate) refusal_counts: Option<Box<RefusalCounts>>,
    /// True if an append failed, so that the head may not be the newest version any more: the next
    /// letter loads the object again.
    pub(crate) stale: bool,
}

/// A wake that is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The time at which it was due.
    pub(crate) wake: Time,
    /// The earliest time at which it would have run: when it was due or, if it was missed then,
    /// when it is tried again.
    pub(crate) at: Time,
}

impl Live {
    /// Checks that the object has what its newest header names, except for the memory's root,
    /// which takes a pass over the memory.
    fn check_invariants(&self) {
        let (header, parts) = (&self.head.header, self.definition.parts());
        debug_assert_eq!(self.image.bytes_count(), header.memory_bytes, "the memory is as long");
        debug_assert_eq!(globals_hash(&self.globals), header.globals, "the globals are the same");
        debug_assert_eq!(parts.code, header.code, "the code is the version's");
        debug_assert_eq!(parts.policy, header.policy, "the policy is the version's");
    }

    /// Returns the live object behind a genesis.
    pub(crate) fn new(result: StepResult, head: Head, runnable: Arc<Runnable>) -> Live {
        let StepResult { image, globals, definition, .. } = result;
        let (missed, refusal_counts, stale) = (None, None, false);
        Live { definition, runnable, head, image, globals, missed, refusal_counts, stale }
    }

    /// The newest version, as the next step finds it, under these limits.
    pub(crate) fn subject(&self, limits: StepLimits) -> Subject<'_> {
        let Live { definition, runnable, image, globals, .. } = self;
        Subject { definition, runnable, image, globals, limits }
    }

    /// Returns the outcome of a step for the next version's header; `root` is the root of its
    /// memory.
    pub(crate) fn outcome<'a>(&self, result: &'a StepResult, root: MemoryRoot) -> Outcome<'a> {
        let globals = match result.globals == self.globals {
            true => self.head.header.globals,
            false => result.globals_hash(),
        };
        result.outcome(root, globals)
    }

    /// Takes the outcome of a step as the newest version, with this header and this ledger.
    pub(crate) fn advance(&mut self, header: Header, ledger: Arc<Ledger>, result: StepResult) {
        let hash = header.hash();
        self.advance_to(hash, header.into(), ledger, result);
    }

    /// Takes the outcome of a step as the newest version, as [`advance`](Live::advance) does;
    /// `hash` is the header's.
    pub(crate) fn advance_to(
        &mut self,
        hash: VersionHash,
        header: Arc<Header>,
        ledger: Arc<Ledger>,
        result: StepResult,
    ) {
        self.head.advance_to(hash, header, ledger);
        (self.image, self.globals, self.definition) =
            (result.image, result.globals, result.definition);
        if let Some(NewCode { runnable, .. }) = result.new_code {
            self.runnable = runnable;
        }
        self.missed = None;
        self.check_invariants();
    }

    /// Returns the record of this wake, if it was missed.
    pub(crate) fn missed(&self, wake: Time) -> Option<&Missed> {
        self.missed.as_deref().filter(|missed| missed.wake == wake)
    }

    /// Takes in that the head's wake was missed.
    pub(crate) fn miss(&mut self, missed: Missed) {
        self.missed = Some(Box::new(missed));
    }

    /// Has a wake run that was held because the object is ahead of the clock; whether one was.
    pub(crate) fn accept_ahead(&mut self) -> bool {
        self.missed.take_if(|missed| matches!(missed.cause, Cause::Ahead(_))).is_some()
    }

    /// Returns the head's wake, when it is due at `time` and was not missed, or is to be tried
    /// again.
    pub(crate) fn due(&self, time: Time) -> Option<Due> {
        let wake = self.head.header.wake.filter(|&wake| wake <= time)?;
        let at = self.missed(wake).map_or(wake, |missed| missed.at);
        self.armed().filter(|&armed| armed <= time).map(|_| Due { wake, at })
    }

    /// Returns the time at which the timer runs the object, unless it has taken that entry already.
    pub(crate) fn armed(&self) -> Option<Time> {
        let wake = self.head.header.wake?;
        // The greatest time never comes.
        self.missed(wake)
            .map_or(Some(wake), |missed| (missed.retry < Time::MAX).then_some(missed.retry))
    }
}
