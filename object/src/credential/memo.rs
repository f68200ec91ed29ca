//! A memo of signatures over batches that were verified already: many inputs carry the same ones.
//!
//! It does not know the inputs. Its content changes how long a verification takes, never the
//! verdict.
//!
//! Invariant: each entry was verified; there is at most one entry a slot.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::Signature;
use crate::hash::BatchRoot;

/// Signatures over batches that were verified lately. It may be shared between threads.
#[derive(Default)]
pub struct Memo {
    /// Slots by the root's first byte; empty before the first entry.
    slots: Mutex<Vec<Option<Entry>>>,
}

/// A batch's root and count, and the signatures over it that were verified together.
#[derive(Clone, PartialEq, Eq)]
struct Entry {
    root: BatchRoot,
    count: u32,
    signatures: Vec<Signature>,
}

const SLOTS: usize = 256;

impl Memo {
    /// Returns whether all of `signatures` were verified over this batch.
    pub(super) fn holds(&self, root: BatchRoot, count: u32, signatures: &[Signature]) -> bool {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = slots.get(usize::from(root.0[0])).and_then(Option::as_ref);
        entry.is_some_and(|entry| {
            (entry.root, entry.count) == (root, count) && entry.signatures == signatures
        })
    }

    /// Takes in that all of `signatures` were verified over a batch, in place of another batch.
    pub(super) fn hold(&self, root: BatchRoot, count: u32, signatures: &[Signature]) {
        let entry = Entry { root, count, signatures: signatures.to_vec() };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.resize(SLOTS, None);
        slots[usize::from(root.0[0])] = Some(entry);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}
