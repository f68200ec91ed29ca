//! The ledger: a head's memory of the lineage behind it, so that the next step can be decided
//! without reading the lineage again. It holds the last nonces of signers, the past that the policy
//! reads, and the open sessions.
//!
//! The header names it by its hash, so a verifier that recomputes it from the versions gets the
//! same one. It does not know how a policy says what it reads.
//!
//! Invariant: `Ledger::decode` accepts exactly the bytes that `encode` writes.

mod nonces;
mod past;
mod sessions;

use std::sync::Arc;

pub use self::nonces::{NonceProblem, Nonces, Used};
pub use self::past::{DAY, HOUR, MINUTE, Mark, Past, Tracked};
pub use self::sessions::{SessionEntry, SessionProblem, Sessions};
use crate::codec::{Reader, Write};
use crate::credential::{Credential, Proof, PublicKey};
use crate::error::Result;
use crate::hash::LedgerHash;
use crate::input::{Input, Request};

const VERSION: u8 = 2;

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
        let is_renamed = matches!(input.request, Request::Amend { .. } | Request::Upgrade { .. });
        if is_renamed && next.nonces.has_floor() {
            Arc::make_mut(&mut next).nonces.rename();
        }
        let action = input.request.action();
        if tracked.has(action) || !self.past.is_within(tracked) {
            let past = &mut Arc::make_mut(&mut next).past;
            past.record(tracked, action, seq, input.time, signers.first());
        }
        next
    }

    /// Bytes that it takes in memory, about.
    pub fn memory_bytes(&self) -> usize {
        self.nonces.memory_bytes() + self.past.memory_bytes() + self.sessions.memory_bytes()
    }

    /// The ledger's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u8(VERSION);
        self.nonces.encode_into(&mut bytes);
        self.past.encode_into(&mut bytes);
        self.sessions.encode_into(&mut bytes);
        bytes
    }

    /// Reads a ledger from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Ledger::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Ledger> {
        let mut reader = Reader::new("ledger", bytes);
        reader.version(VERSION)?;
        let nonces = Nonces::decode_from(&mut reader)?;
        let past = Past::decode_from(&mut reader)?;
        let sessions = Sessions::decode_from(&mut reader)?;
        reader.end()?;
        Ok(Ledger { nonces, past, sessions })
    }

    /// The hash of the ledger's bytes.
    pub fn hash(&self) -> LedgerHash {
        LedgerHash::of(&self.encode())
    }
}
