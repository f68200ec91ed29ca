//! Messages as records and the index store them: the id, the receiver, and the outcome.
//!
//! This module does not know the content of messages, nor which are on their way.
//!
//! Invariant: `read` and `decode` read back the bytes that `put` and `encode` write.

use object::codec::{Reader, Write};
use object::hash::{HASH_BYTES, ObjectId, VersionHash};
use object::limits::MESSAGES_MAX;

use crate::error::Result;
use crate::error::position::Position;

/// The longest reason that is kept of a dead letter, in bytes.
const WHY_BYTES_MAX: usize = 1024;

/// The id of a message: its receiver, and where it was sent. Messages to one object ascend in the
/// order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// The receiver.
    pub to: ObjectId,
    /// The position of the frame with the sending version.
    pub(crate) position: Position,
    /// The place among the messages of that frame.
    pub(crate) number: u32,
}

/// Bytes of a message's id.
pub(crate) const MESSAGE_ID_BYTES: usize = HASH_BYTES + 12;

impl MessageId {
    /// Returns its key, in the order of ids.
    pub(crate) fn key(self) -> [u8; MESSAGE_ID_BYTES] {
        let mut key = [0; MESSAGE_ID_BYTES];
        key[..HASH_BYTES].copy_from_slice(&self.to.0);
        key[HASH_BYTES..][..8].copy_from_slice(&self.position.0.to_be_bytes());
        key[HASH_BYTES + 8..].copy_from_slice(&self.number.to_be_bytes());
        debug_assert_eq!(MessageId::of_key(&key), Some(self), "a key is read back");
        key
    }

    pub(crate) fn of_key(key: &[u8]) -> Option<MessageId> {
        let (to, rest) = key.split_first_chunk()?;
        let (position, number) = rest.split_first_chunk()?;
        Some(MessageId {
            to: ObjectId(*to),
            position: Position(u64::from_be_bytes(*position)),
            number: u32::from_be_bytes(number.try_into().ok()?),
        })
    }
}

/// The version and index of a sent message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) version: VersionHash,
    pub(crate) index: u32,
}

impl Sent {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = self.version.0.to_vec();
        bytes.put_u32(self.index);
        debug_assert_eq!(Sent::decode(&bytes), Some(self), "what is written is read");
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Sent> {
        let (version, index) = bytes.split_first_chunk()?;
        let index = u32::from_le_bytes(index.try_into().ok()?);
        Some(Sent { version: VersionHash(*version), index })
    }
}

/// The messages of one version, by their receivers, in the order of its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The version, which the same append makes.
    pub version: VersionHash,
    /// The receivers of its messages.
    pub receivers: Vec<ObjectId>,
}

impl Sending {
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        debug_assert!((1..=MESSAGES_MAX).contains(&self.receivers.len()), "few are sent at once");
        to.put(&self.version.0);
        self.receivers.iter().for_each(|receiver| {
            to.put(&receiver.0);
        });
    }

    pub(crate) fn read(mut reader: Reader<'_>) -> Result<Sending> {
        let version = VersionHash(reader.array()?);
        let count = reader.left() / HASH_BYTES;
        if !(1..=MESSAGES_MAX).contains(&count) {
            return Err(reader.fail(0, "receivers of 1 to 1,024 messages", count).into());
        }
        let receivers = (0..count).map(|_| Ok(ObjectId(reader.array()?)));
        let receivers = receivers.collect::<Result<_>>()?;
        reader.end()?;
        Ok(Sending { version, receivers })
    }

    /// Returns the messages, when `next` messages of the frame at `position` come before them.
    pub(crate) fn messages(
        &self,
        position: Position,
        next: &mut u32,
    ) -> impl Iterator<Item = (MessageId, Sent)> {
        let first = *next;
        *next += self.receivers.len() as u32;
        let version = self.version;
        self.receivers.iter().zip(0..).map(move |(&to, index)| {
            (MessageId { to, position, number: first + index }, Sent { version, index })
        })
    }
}

/// The outcome of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver's version is in the same append.
    Delivered,
    /// The message could not be delivered, for this reason, cut to 1,024 bytes.
    Dead(String),
    /// The message was a dead letter, and is on its way again.
    Again,
    /// The message was a dead letter, and was dropped.
    Dropped,
}

/// A message that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The message.
    pub id: MessageId,
    /// The message's outcome.
    pub fate: Fate,
}

impl Taking {
    /// Returns it as a frame stores it: a longer reason is cut.
    pub(crate) fn cut(&self) -> Taking {
        let mut taking = self.clone();
        if let Fate::Dead(why) = &mut taking.fate {
            why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
        }
        taking
    }

    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        to.put(&self.id.to.0).put_u64(self.id.position.0).put_u32(self.id.number);
        match &self.fate {
            Fate::Delivered => {
                to.put_u8(0);
            }
            Fate::Dead(why) => {
                debug_assert!(why.len() <= WHY_BYTES_MAX, "a reason was cut");
                to.put_u8(1).put_blob(why.as_bytes());
            }
            Fate::Again => {
                to.put_u8(2);
            }
            Fate::Dropped => {
                to.put_u8(3);
            }
        }
    }

    pub(crate) fn read(mut reader: Reader<'_>) -> Result<Taking> {
        let to = ObjectId(reader.array()?);
        let (position, number) = (Position(reader.u64()?), reader.u32()?);
        let fate = match reader.u8()? {
            0 => Fate::Delivered,
            1 => Fate::Dead(reader.text(WHY_BYTES_MAX)?.to_string()),
            2 => Fate::Again,
            3 => Fate::Dropped,
            other => return Err(reader.fail(1, "a fate below 4", other).into()),
        };
        reader.end()?;
        Ok(Taking { id: MessageId { to, position, number }, fate })
    }
}

/// The kept facts about a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dead {
    pub(crate) sent: Sent,
    pub(crate) why: String,
}

impl Dead {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.sent.encode();
        bytes.put(self.why.as_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Dead> {
        let (sent, why) = bytes.split_at_checked(HASH_BYTES + 4)?;
        Some(Dead { sent: Sent::decode(sent)?, why: String::from_utf8(why.to_vec()).ok()? })
    }
}
