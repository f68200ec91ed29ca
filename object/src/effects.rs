//! The effects of a step (its result, outputs and messages), and the decision that admitted it.
//!
//! Both are payloads that a version header names by hash. This module does not know how effects are
//! delivered.
//!
//! Invariant: each `decode` accepts exactly the bytes that its `encode` writes.

use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::error::Result;
use crate::hash::{AdmissionHash, EffectsHash, GlobalsHash, Salt};
use crate::header::Header;
use crate::limits::{
    EFFECTS_BYTES_MAX, GLOBALS_MAX, MESSAGES_MAX, NAME_BYTES_MAX, OUTPUTS_MAX, RULES_MAX,
    SIGNATURES_MAX,
};
use crate::message::Message;
use crate::request::Request;
use crate::time::Time;

const EFFECTS_VERSION: u8 = 2;
const ADMISSION_VERSION: u8 = 2;

/// The result of a step and all that it sends out.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Effects {
    /// The method's result, encoded by the schema; empty when it has none.
    pub result: Vec<u8>,
    /// Outward outputs, in the order of their emission.
    pub outputs: Vec<Output>,
    /// The step's change of the object's next wake.
    pub wake: WakeChange,
    /// Messages to objects, in the order in which they were sent.
    pub messages: Vec<Message>,
}

/// An outward output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The output's name.
    pub name: String,
    /// The output's content.
    pub payload: Vec<u8>,
}

/// A step's change of the object's next wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WakeChange {
    /// No change.
    #[default]
    Keep,
    /// The object wants no wake.
    Clear,
    /// The object wants to run at this time.
    Set(Time),
}

impl WakeChange {
    /// Returns the next wake after the step of an object whose next wake was `wake` before.
    pub fn apply(self, wake: Option<Time>) -> Option<Time> {
        match self {
            WakeChange::Keep => wake,
            WakeChange::Clear => None,
            WakeChange::Set(at) => Some(at),
        }
    }
}

impl Effects {
    /// Returns the effects of a fork of version `of`: it takes over the object's next wake, and
    /// nothing else.
    pub fn of_fork(of: &Header) -> Effects {
        Effects::of_wake(of.wake.map_or(WakeChange::Keep, WakeChange::Set))
    }

    /// Returns the effects of a fork that leaves out the next wake of version `of`, if it has one.
    pub fn of_fork_without_wake(of: &Header) -> Effects {
        Effects::of_wake(of.wake.map_or(WakeChange::Keep, |_| WakeChange::Clear))
    }

    /// Returns the effects of a request that runs no code: a deletion clears the wake, and no other
    /// has any.
    pub fn without_code(request: &Request) -> Effects {
        Effects::of_wake(match request {
            Request::Delete => WakeChange::Clear,
            _ => WakeChange::Keep,
        })
    }

    fn of_wake(wake: WakeChange) -> Effects {
        Effects { wake, ..Effects::default() }
    }

    /// The effects' bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.result.len());
        bytes.put_u8(EFFECTS_VERSION).put_blob(&self.result);
        let (tag, at) = match self.wake {
            WakeChange::Keep => (0, None),
            WakeChange::Clear => (1, None),
            WakeChange::Set(at) => (2, Some(at)),
        };
        bytes.put_u8(tag);
        if let Some(at) = at {
            bytes.put_time(at);
        }
        bytes.put_count(self.outputs.len());
        for output in &self.outputs {
            bytes.put_blob(output.name.as_bytes()).put_blob(&output.payload);
        }
        bytes.put_count(self.messages.len());
        self.messages.iter().for_each(|message| message.encode_into(&mut bytes));
        bytes
    }

    /// Reads effects from exactly their bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Effects::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Effects> {
        let mut reader = Reader::new("effects", bytes);
        reader.version(EFFECTS_VERSION)?;
        let result = reader.blob(EFFECTS_BYTES_MAX)?.to_vec();
        let wake = match reader.u8()? {
            0 => WakeChange::Keep,
            1 => WakeChange::Clear,
            2 => WakeChange::Set(reader.time()?),
            other => return Err(reader.fail(1, "a wake change below 3", other)),
        };
        let count = reader.count(OUTPUTS_MAX, 2)?;
        let mut outputs = Vec::with_capacity(count);
        let mut left = EFFECTS_BYTES_MAX;
        for _ in 0..count {
            let name = reader.text(NAME_BYTES_MAX.min(left))?.to_string();
            left -= name.len();
            let payload = reader.blob(left)?.to_vec();
            left -= payload.len();
            outputs.push(Output { name, payload });
        }
        let count = reader.count(MESSAGES_MAX, 34)?;
        let mut messages = Vec::with_capacity(count);
        for _ in 0..count {
            messages.push(Message::decode_from(&mut reader, &mut left)?);
        }
        reader.end()?;
        Ok(Effects { result, outputs, wake, messages })
    }

    /// Returns the salted hash of the effects' bytes.
    pub fn hash(&self, salt: Salt) -> EffectsHash {
        EffectsHash::of(salt, &self.encode())
    }
}

/// The decision that admitted a version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Admission {
    /// The keys whose signatures on the input were verified, ascending.
    pub signers: Vec<PublicKey>,
    /// The ids of the rules that permitted it, ascending; none for a creation.
    pub rules: Vec<String>,
    /// The ids of the rules that permitted an upgrade's migrated state, ascending: rules of the new
    /// policy. Empty for anything else.
    pub migrated: Vec<String>,
}

impl Admission {
    /// The decision's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + 32 * (self.signers.len() + self.rules.len()));
        bytes.put_u8(ADMISSION_VERSION).put_count(self.signers.len());
        for key in &self.signers {
            bytes.put(&key.0);
        }
        put_rules(&mut bytes, &self.rules);
        put_rules(&mut bytes, &self.migrated);
        bytes
    }

    /// Reads a decision from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Admission::encode`] does not
    /// write.
    pub fn decode(bytes: &[u8]) -> Result<Admission> {
        let mut reader = Reader::new("admission", bytes);
        reader.version(ADMISSION_VERSION)?;
        let count = reader.count(SIGNATURES_MAX, 32)?;
        let mut signers = Vec::with_capacity(count);
        for _ in 0..count {
            signers.push(PublicKey(reader.array()?));
        }
        let (rules, migrated) = (decode_rules(&mut reader)?, decode_rules(&mut reader)?);
        reader.end()?;
        Ok(Admission { signers, rules, migrated })
    }

    /// Returns the salted hash of the decision's bytes.
    pub fn hash(&self, salt: Salt) -> AdmissionHash {
        AdmissionHash::of(salt, &self.encode())
    }
}

pub(crate) fn put_rules(bytes: &mut Vec<u8>, rules: &[String]) {
    bytes.put_count(rules.len());
    for rule in rules {
        bytes.put_blob(rule.as_bytes());
    }
}

pub(crate) fn decode_rules(reader: &mut Reader<'_>) -> Result<Vec<String>> {
    let count = reader.count(RULES_MAX, 1)?;
    (0..count).map(|_| Ok(reader.text(NAME_BYTES_MAX)?.to_string())).collect()
}

/// Bytes of encoded globals.
pub(crate) const GLOBALS_ENCODED_MAX: usize = 2 + 8 * GLOBALS_MAX;

/// The mutable globals' bytes: the bits of each, in the order of the module's global section.
pub fn encode_globals(globals: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + 8 * globals.len());
    bytes.put_count(globals.len());
    globals.iter().for_each(|&bits| {
        bytes.put_u64(bits);
    });
    bytes
}

/// Reads mutable globals from exactly their bytes.
///
/// # Errors
///
/// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`encode_globals`] does not write.
pub fn decode_globals(bytes: &[u8]) -> Result<Vec<u64>> {
    let mut reader = Reader::new("globals", bytes);
    let count = reader.count(GLOBALS_MAX, 8)?;
    let globals = (0..count).map(|_| reader.u64()).collect::<Result<_>>()?;
    reader.end()?;
    Ok(globals)
}

/// The hash of the mutable globals' bytes.
pub fn globals_hash(globals: &[u64]) -> GlobalsHash {
    GlobalsHash::of(&encode_globals(globals))
}
