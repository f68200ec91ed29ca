//! The ledger: a head's memory of the lineage behind it, so that the next step can be decided
//! without reading the lineage again. It holds the last nonces of signers, the past that the policy
//! reads, and the open sessions.
//!
//! The header names it by its hash, so a verifier that recomputes it from the versions gets the
//! same one. The hash is that of a few roots, and a version changes few entries, so neither takes
//! longer where more is remembered. A ledger is written as its changes since an earlier one, or
//! since the empty one. This module does not know how a policy says what it reads.
//!
//! Invariant: `Ledger::changed_by` accepts exactly the bytes that `changes` writes.

mod arguments;
mod changes;
mod latest;
mod nonces;
mod past;
mod sessions;
mod tracked;
mod trie;

use std::sync::Arc;

pub use self::arguments::{ArgumentMark, Last};
pub use self::nonces::{NonceProblem, Nonces, Used};
pub use self::past::{Mark, Past};
pub use self::sessions::{SessionEntry, SessionProblem, Sessions};
pub use self::tracked::{
    Argument, Class, DAY, HOUR, Keep, MINUTE, ReadArguments, Tracked, TrackedArgument, Window,
};
use crate::codec::Reader;
use crate::credential::{Credential, Proof, PublicKey};
use crate::error::Result;
use crate::hash::LedgerHash;
use crate::input::{Input, Request};

/// A head's memory of the lineage behind it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Ledger {
    /// The last nonces of the signers.
    pub nonces: Nonces,
    /// The past that the policy reads.
    pub past: Past,
    /// The sessions that are open.
    pub sessions: Sessions,
}

impl Ledger {
    /// Returns the ledger behind version `seq`, made by `input` of `signers`, of an object whose
    /// new policy reads `tracked`; this ledger itself when nothing changed.
    pub fn next(
        self: &Arc<Ledger>,
        tracked: &Tracked,
        seq: u64,
        input: &Input,
        signers: &[PublicKey],
    ) -> Arc<Ledger> {
        let mut next = Arc::clone(self);
        if let Some(credential) = &input.credential {
            let next = Arc::make_mut(&mut next);
            let Credential { nonce, expires, .. } = *credential;
            match credential.proof {
                Proof::Signatures(_) | Proof::Batch(..) => {
                    next.nonces.record(signers, Used { nonce, expires }, input.time, tracked);
                }
                Proof::Session { session, .. } => next.sessions.record(session, nonce),
            }
            next.sessions.forget(input.time);
            if let Request::OpenSession { session, expires } = input.request {
                next.sessions.open(session, signers, expires);
            }
        }
        if input.request == Request::Delete && !next.sessions.is_empty() {
            Arc::make_mut(&mut next).sessions = Sessions::default();
        }
        let is_renamed = matches!(input.request, Request::Amend { .. } | Request::Upgrade { .. });
        if is_renamed && next.nonces.has_floor() {
            Arc::make_mut(&mut next).nonces.rename();
        }
        if tracked.has(input.request.action()) || !self.past.is_within(tracked) {
            let past = &mut Arc::make_mut(&mut next).past;
            past.record(tracked, seq, input, signers.first());
        }
        next
    }

    /// Bytes that it takes in memory beside its own.
    pub fn memory_bytes(&self) -> usize {
        self.nonces.memory_bytes() + self.past.memory_bytes() + self.sessions.memory_bytes()
    }

    /// Returns an upper bound of the bytes that the ledger has when it is written alone, unless
    /// numbers in it are extremely large.
    pub fn encoded_bytes_about(&self) -> usize {
        let (actions, recent) = self.past.counts();
        let (sessions, keys) = self.sessions.counts();
        let arguments = self.past.arguments.encoded_bytes_about();
        let rest = 64 * actions + 17 * recent + 52 * sessions + 32 * keys;
        16 + 50 * self.nonces.len() + rest + arguments
    }

    /// Returns the changes since `base`, as bytes.
    pub fn changes(&self, base: &Ledger) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        self.nonces.put_changes(&base.nonces, &mut bytes);
        self.past.put_changes(&base.past, &mut bytes);
        self.sessions.put_changes(&base.sessions, &mut bytes);
        self.past.arguments.put_changes(&base.past.arguments, &mut bytes);
        bytes
    }

    /// Reads the ledger that this one became, from exactly the bytes of its changes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Ledger::changes`] does not write.
    pub fn changed_by(&self, bytes: &[u8]) -> Result<Ledger> {
        let mut reader = Reader::new("changes of a ledger", bytes);
        let nonces = self.nonces.changed_by(&mut reader)?;
        let mut past = self.past.changed_by(&mut reader)?;
        let sessions = self.sessions.changed_by(&mut reader)?;
        past.arguments = self.past.arguments.changed_by(&mut reader)?;
        if reader.left() > 0 {
            let found = format!("{} more bytes", reader.left());
            return Err(reader.fail(0, "the end", found));
        }
        let changed = Ledger { nonces, past, sessions };
        // There is one way to write each change.
        match changed.changes(self) == bytes {
            true => Ok(changed),
            false => Err(reader.fail(bytes.len(), "the shortest changes", "others")),
        }
    }

    /// The ledger's bytes: its changes since the empty one.
    pub fn encode(&self) -> Vec<u8> {
        self.changes(&Ledger::default())
    }

    /// Reads a ledger from exactly its bytes.
    ///
    /// # Errors
    ///
    /// As of [`Ledger::changed_by`].
    pub fn decode(bytes: &[u8]) -> Result<Ledger> {
        Ledger::default().changed_by(bytes)
    }

    /// The hash of the ledger: of the roots of its parts.
    pub fn hash(&self) -> LedgerHash {
        let mut bytes = Vec::with_capacity(128);
        self.nonces.put_root(&mut bytes);
        self.past.put_root(&mut bytes);
        self.sessions.put_root(&mut bytes);
        self.past.arguments.put_root(&mut bytes);
        LedgerHash::of(&bytes)
    }
}
