//! Refusals: requests that were turned away, kept as evidence.
//!
//! A refusal stands at a position of the lineage (after one version, before the next) and is
//! chained to the refusal before it; the next version's header names the last one. It changes
//! nothing. Its hash covers the input, and the detail, which may hold values of the input or of the
//! state, by a salted hash alone. This module does not know how many refusals a store keeps.
//!
//! Invariant: `Refusal::decode` accepts exactly the bytes that `encode` writes.

use std::fmt;

use crate::codec::{Reader, Write};
use crate::effects::{decode_rules, put_rules};
use crate::error::{Error, Result};
use crate::hash::{ObjectId, RefusalHash, RefusedHash, Salt, VersionHash};
use crate::limits::PAYLOAD_BYTES_MAX;

const REFUSAL_VERSION: u8 = 2;
/// The longest detail of a refusal, in bytes.
pub const DETAIL_BYTES_MAX: usize = 256;
/// Bytes of an encoded input: its payload, its paths and its signatures.
pub(crate) const INPUT_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;

/// The reasons for which an input is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A signature does not verify, a key is weak or malformed, or the input is of a kind that may
    /// not carry such a credential.
    Credential,
    /// The credential expired.
    Expired,
    /// The credential expires later than nonces are remembered.
    ExpiresTooLate,
    /// The nonce was used already.
    Replayed,
    /// A later nonce of the same key was used already.
    Reordered,
    /// Too many keys signed within the longest expiry.
    NoncesFull,
    /// The credential names another version than the one it would follow.
    WrongParent,
    /// The object's own cycle is not due.
    NotDue,
    /// The step used up its fuel.
    OutOfFuel,
    /// The step used up its stack.
    StackExhausted,
    /// The step trapped.
    Trap,
    /// The state after the step does not match the schema.
    State,
    /// Rules of the policy forbid it.
    Forbidden,
    /// No rule of the policy permits it.
    NotPermitted,
    /// A rule of the policy could not be evaluated.
    Evaluation,
    /// The new policy is not valid for the object's schema.
    Policy,
    /// The session that the input is in is not open.
    NoSession,
    /// A session that is open is opened again.
    SessionOpen,
    /// The code of an input in a session is not of the session's secret. It is the host's word.
    SessionCode,
    /// The object has as many sessions open as it may have.
    SessionsFull,
    /// The policy's guard does not permit it.
    Guard,
    /// A message names no method of the object, or its arguments are not those of the method.
    Message,
    /// The code of an upgrade does not migrate states of the object's schema.
    Migration,
}

/// Reasons by their codes.
const REASONS: [Reason; 23] = [
    Reason::Credential,
    Reason::Expired,
    Reason::ExpiresTooLate,
    Reason::Replayed,
    Reason::Reordered,
    Reason::NoncesFull,
    Reason::WrongParent,
    Reason::NotDue,
    Reason::OutOfFuel,
    Reason::StackExhausted,
    Reason::Trap,
    Reason::State,
    Reason::Forbidden,
    Reason::NotPermitted,
    Reason::Evaluation,
    Reason::Policy,
    Reason::NoSession,
    Reason::SessionOpen,
    Reason::SessionCode,
    Reason::SessionsFull,
    Reason::Guard,
    Reason::Message,
    Reason::Migration,
];

impl Reason {
    /// Every reason, by its code.
    pub const ALL: &[Reason] = &REASONS;

    /// The code that refusals have.
    pub fn code(self) -> u8 {
        let index = REASONS.iter().position(|&reason| reason == self);
        index.expect("every reason is in the list") as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Reason> {
        REASONS.get(usize::from(code)).copied()
    }

    /// Returns whether a native rule gives this reason: one that the head and the input alone
    /// decide.
    pub fn is_native(self) -> bool {
        use Reason::*;
        matches!(
            self,
            Credential
                | Expired
                | ExpiresTooLate
                | Replayed
                | Reordered
                | NoncesFull
                | WrongParent
                | NotDue
                | NoSession
                | SessionOpen
                | SessionCode
                | SessionsFull
        )
    }

    /// The name that JSON has.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Credential => "credential",
            Reason::Expired => "expired",
            Reason::ExpiresTooLate => "expires-too-late",
            Reason::Replayed => "replayed",
            Reason::Reordered => "reordered",
            Reason::NoncesFull => "nonces-full",
            Reason::WrongParent => "wrong-parent",
            Reason::NotDue => "not-due",
            Reason::OutOfFuel => "out-of-fuel",
            Reason::StackExhausted => "stack-exhausted",
            Reason::Trap => "trap",
            Reason::State => "state",
            Reason::Forbidden => "forbidden",
            Reason::NotPermitted => "not-permitted",
            Reason::Evaluation => "evaluation",
            Reason::Policy => "policy",
            Reason::NoSession => "no-session",
            Reason::SessionOpen => "session-open",
            Reason::SessionCode => "session-code",
            Reason::SessionsFull => "sessions-full",
            Reason::Guard => "guard",
            Reason::Message => "message",
            Reason::Migration => "migration",
        }
    }
}

/// A verdict against an input: the reason, the rules behind it, and a detail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The reason.
    pub reason: Reason,
    /// The ids of the policy's rules that refused, ascending; empty for a native rule.
    pub rules: Vec<String>,
    /// A remedy or a cause for the asking party, at most [`DETAIL_BYTES_MAX`] bytes.
    pub detail: String,
}

impl Verdict {
    /// A verdict of a native rule. A detail beyond its limit is cut.
    pub fn native(reason: Reason, detail: impl Into<String>) -> Verdict {
        Verdict::new(reason, Vec::new(), detail)
    }

    /// A verdict of `rules`. A detail beyond its limit is cut.
    pub fn new(reason: Reason, rules: Vec<String>, detail: impl Into<String>) -> Verdict {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        Verdict { reason, rules, detail }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.name())?;
        if !self.rules.is_empty() {
            write!(f, " by {}", self.rules.join(", "))?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

/// A refusal on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The object.
    pub object: ObjectId,
    /// The seq of the version that was not made.
    pub seq: u64,
    /// The version that it would have followed.
    pub parent: VersionHash,
    /// The refusal before this one, if there is one.
    pub previous: Option<RefusalHash>,
    /// The salted hash of the verdict's detail and of the input.
    pub refused: RefusedHash,
    /// The input's bytes.
    pub input: Vec<u8>,
    /// The verdict.
    pub verdict: Verdict,
}

impl Refusal {
    /// The refusal's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_hashed();
        put_refused(&mut bytes, &self.verdict.detail, &self.input);
        bytes
    }

    /// Returns the bytes that the refusal's hash is of: those before detail and input.
    fn encode_hashed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.put_u8(REFUSAL_VERSION).put_u8(self.verdict.reason.code()).put_u64(self.seq);
        bytes.put(&self.object.0).put(&self.parent.0);
        bytes.put_option(self.previous.map(|previous| previous.0));
        put_rules(&mut bytes, &self.verdict.rules);
        bytes.put(&self.refused.0);
        bytes
    }

    /// Reads a refusal from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Refusal::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Refusal> {
        let mut reader = Reader::new("refusal", bytes);
        reader.version(REFUSAL_VERSION)?;
        let code = reader.u8()?;
        let reason =
            Reason::from_code(code).ok_or_else(|| reader.fail(1, "a known reason", code))?;
        let seq = reader.u64()?;
        let (object, parent) = (ObjectId(reader.array()?), VersionHash(reader.array()?));
        let previous = reader.option()?.map(RefusalHash);
        let rules = decode_rules(&mut reader)?;
        let refused = RefusedHash(reader.array()?);
        let detail = reader.text(DETAIL_BYTES_MAX)?.to_string();
        let input = reader.blob(INPUT_BYTES_MAX)?.to_vec();
        reader.end()?;
        let verdict = Verdict { reason, rules, detail };
        Ok(Refusal { object, seq, parent, previous, refused, input, verdict })
    }

    /// The refusal's hash, which the next refusal and the next version name.
    pub fn hash(&self) -> RefusalHash {
        RefusalHash::of(&self.encode_hashed())
    }

    /// Verifies that detail and input are those that the refusal's hash covers.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch).
    pub fn verify(&self, salt: Salt) -> Result<()> {
        let refused = Refusal::refused_hash(salt, &self.verdict.detail, &self.input);
        match refused == self.refused {
            true => Ok(()),
            false => Err(Error::mismatch("refused input", self.seq, self.refused, refused)),
        }
    }

    /// Returns the salted hash of the detail of a refusal and of its input.
    pub fn refused_hash(salt: Salt, detail: &str, input: &[u8]) -> RefusedHash {
        let mut bytes = Vec::with_capacity(8 + detail.len() + input.len());
        put_refused(&mut bytes, detail, input);
        RefusedHash::of(salt, &bytes)
    }
}

fn put_refused(bytes: &mut Vec<u8>, detail: &str, input: &[u8]) {
    bytes.put_blob(detail.as_bytes()).put_blob(input);
}
