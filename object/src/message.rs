//! Messages: a request from one object to another, an effect of the sender's version and, once
//! delivered, the request of the receiver's version.
//!
//! The receiver decides on a message by its own policy, with the sender as the principal. That the
//! sender's version is on record is the host's word; the sender's lineage proves it to anyone who
//! has it.
//!
//! Messages that answer messages come to an end: a step shares its remaining fuel among the
//! messages that it sends, and the step of each message has no more than its share. So all steps
//! that a call sets off use at most the fuel of one step, [`FUEL_MAX`], and each message costs
//! [`MESSAGE_FUEL`] by itself.
//!
//! This module does not know how a message is delivered.

use crate::codec::{Reader, Write};
use crate::error::{ErrorKind, Result};
use crate::hash::{CodeHash, ObjectId, PolicyHash, VersionHash};
#[cfg(doc)]
use crate::limits::MESSAGE_FUEL;
use crate::limits::{FUEL_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// A request that a step sends to another object, or to its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The receiver.
    pub to: ObjectId,
    /// The method.
    pub method: String,
    /// The arguments, encoded as the receiver's schema says. The sender may not know that schema;
    /// if the arguments do not fit, the receiver refuses them.
    pub arguments: Vec<u8>,
}

/// A message's origin: its place in the sender's lineage, and the version there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The sender.
    pub sender: ObjectId,
    /// The sequence number of the sending version.
    pub seq: u64,
    /// The hash of the sending version.
    pub version: VersionHash,
    /// The sender's code.
    pub code: CodeHash,
    /// The sender's policy, from that version on.
    pub policy: PolicyHash,
    /// The policy that the sender was created with; none, when it began as a fork.
    pub first_policy: Option<PolicyHash>,
    /// The message's index among those of the version.
    pub index: u32,
    /// The fuel that the step may use.
    pub fuel: u64,
}

/// The fuel of each of `count` messages that a step sent which had `budget` and used `used`.
///
/// # Panics
///
/// When there are no messages.
pub fn fuel_share(budget: u64, used: u64, count: usize) -> u64 {
    budget.saturating_sub(used) / count as u64
}

impl Message {
    pub(crate) fn encode_into(&self, bytes: &mut impl Write) {
        bytes.put(&self.to.0).put_blob(self.method.as_bytes()).put_blob(&self.arguments);
    }

    /// Reads a message whose method and arguments together are at most `left` bytes.
    pub(crate) fn decode_from(reader: &mut Reader<'_>, left: &mut usize) -> Result<Message> {
        let to = ObjectId(reader.array()?);
        let method = reader.text(NAME_BYTES_MAX.min(*left))?.to_string();
        *left -= method.len();
        let arguments = reader.blob(PAYLOAD_BYTES_MAX.min(*left))?.to_vec();
        *left -= arguments.len();
        Ok(Message { to, method, arguments })
    }
}

impl Origin {
    /// Validates that the message survives its encoding.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.fuel > FUEL_MAX {
            let (max, found) = (FUEL_MAX, self.fuel);
            return Err(ErrorKind::Limit { what: "fuel of a message", max, found }.into());
        }
        Ok(())
    }

    pub(crate) fn encode_into(&self, bytes: &mut impl Write) {
        bytes.put(&self.sender.0).put_u64(self.seq).put(&self.version.0);
        bytes.put(&self.code.0).put(&self.policy.0);
        bytes.put_option(self.first_policy.map(|policy| policy.0));
        bytes.put_u32(self.index).put_u64(self.fuel);
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Origin> {
        let origin = Origin {
            sender: ObjectId(reader.array()?),
            seq: reader.u64()?,
            version: VersionHash(reader.array()?),
            code: CodeHash(reader.array()?),
            policy: PolicyHash(reader.array()?),
            first_policy: reader.option()?.map(PolicyHash),
            index: reader.u32()?,
            fuel: reader.u64()?,
        };
        match origin.fuel <= FUEL_MAX {
            true => Ok(origin),
            false => Err(reader.fail(8, &format!("fuel of at most {FUEL_MAX}"), origin.fuel)),
        }
    }
}
