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

/// Nonces in the first form and nothing else, as long as there is nothing else.
const NONCES_ONLY: u8 = 1;
/// Nonces and the past.
const WITH_PAST: u8 = 2;
/// Nonces, the past and sessions; used while a session is open.
const WITH_SESSIONS: u8 = 3;
/// Nonces, the past and sessions, with nonces that are not in the first form.
const VERSION: u8 = 4;

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
        self.next_with(tracked, seq, input, signers, |nonces, used| {
            nonces.record(signers, used, input.time, tracked);
        })
    }

    /// Returns the ledger behind a version as [`next`](Ledger::next) gives it. If its hash is not
    /// `recorded`, returns instead the ledger by the rule before floors, if that has the hash.
    ///
    /// Lineages were made by either rule; once a ledger has floors the newer rule stays.
    pub fn next_on_record(
        self: &Arc<Ledger>,
        tracked: &Tracked,
        seq: u64,
        (input, signers): (&Input, &[PublicKey]),
        recorded: LedgerHash,
    ) -> Arc<Ledger> {
        let next = self.next(tracked, seq, input, signers);
        let is_signed = input.credential.as_ref().is_some_and(|it| it.session().is_none());
        if !is_signed || !self.nonces.is_first_form() || next.hash() == recorded {
            return next;
        }
        let nonce = input.credential.as_ref().map_or(0, |credential| credential.nonce);
        let Some(nonces) = self.nonces.recorded_in_first_form(signers, nonce, input.time) else {
            return next;
        };
        let first = self.next_with(tracked, seq, input, signers, |to, _| *to = nonces);
        if first.hash() == recorded { first } else { next }
    }

    fn next_with(
        self: &Arc<Ledger>,
        tracked: &Tracked,
        seq: u64,
        input: &Input,
        signers: &[PublicKey],
        record: impl FnOnce(&mut Nonces, Used),
    ) -> Arc<Ledger> {
        let mut next = Arc::clone(self);
        if let Some(credential) = &input.credential {
            let next = Arc::make_mut(&mut next);
            let Credential { nonce, expires, .. } = *credential;
            match credential.proof {
                Proof::Signatures(_) | Proof::Batch(..) => {
                    record(&mut next.nonces, Used { nonce, expires });
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
        let version = match (self.past.is_empty(), self.sessions.is_empty()) {
            _ if !self.nonces.is_first_form() => VERSION,
            (_, false) => WITH_SESSIONS,
            (false, true) => WITH_PAST,
            (true, true) => NONCES_ONLY,
        };
        bytes.put_u8(version);
        self.nonces.encode_into(&mut bytes);
        if version >= WITH_PAST {
            self.past.encode_into(&mut bytes);
        }
        if version >= WITH_SESSIONS {
            self.sessions.encode_into(&mut bytes);
        }
        bytes
    }

    /// Reads a ledger from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Ledger::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Ledger> {
        let mut reader = Reader::new("ledger", bytes);
        let version = reader.u8()?;
        if !(NONCES_ONLY..=VERSION).contains(&version) {
            let expected = format!("version {NONCES_ONLY} to {VERSION}");
            return Err(reader.fail(1, &expected, version));
        }
        let nonces = Nonces::decode_from(&mut reader, version < VERSION)?;
        let past = match version {
            NONCES_ONLY => Past::default(),
            _ => Past::decode_from(&mut reader)?,
        };
        let sessions = match version {
            WITH_SESSIONS | VERSION => Sessions::decode_from(&mut reader)?,
            _ => Sessions::default(),
        };
        if version == WITH_PAST && past.is_empty() {
            return Err(reader.fail(0, "version 1 of nonces alone", version));
        }
        if version == WITH_SESSIONS && sessions.is_empty() {
            return Err(reader.fail(0, "an earlier version without sessions", version));
        }
        reader.end()?;
        Ok(Ledger { nonces, past, sessions })
    }

    /// The hash of the ledger's bytes.
    pub fn hash(&self) -> LedgerHash {
        LedgerHash::of(&self.encode())
    }
}
