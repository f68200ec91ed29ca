//! Messages on their way: each sent by a version, in the frame that has it, and taken by the frame
//! that has what became of it, once.
//!
//! ```text
//!   frame of the sender's version      frame of the receiver's version, or refusal
//!     Sent ------------> on its way to the receiver ------------> Taken: delivered, or dead
//! ```
//!
//! A message is a place in the log; what it says is in the effects of the version there, which
//! compaction keeps as long as the message is on its way. Messages to one object are in the order
//! of the log, so those of one sender to one receiver are in the order of the sender's lineage.
//!
//! It does not know who delivers messages, nor what is done with them.
//!
//! Invariant: a frame that takes a message is appended only while the message is on its way.

use std::collections::{BTreeMap, BTreeSet};

use object::codec::{Reader, Write};
use object::effects::Effects;
use object::hash::{HASH_BYTES, ObjectId, PolicyHash, VersionHash};
use object::header::Kind;
use object::input::Input;
use object::limits::MESSAGES_MAX;
use object::message::{Message, Origin, fuel_share};

use crate::error::{Error, Result};
use crate::log::frame::damaged;
use crate::log::{Frames, Position};
use crate::row::Link;
use crate::store::{Inner, Store};
use crate::stored::{StoredCommit, read_commit};

/// Messages of one version that are read at a time.
const READ_MAX: usize = 64;
/// Bytes of what is said of a dead letter.
const WHY_BYTES_MAX: usize = 1024;

/// Which message it is: to whom, and where it was sent. Messages to one object ascend as they were
/// sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// The receiver.
    pub to: ObjectId,
    /// Of the frame that has the version that sent it.
    pub(crate) position: Position,
    /// The place among the messages of that frame.
    pub(crate) number: u32,
}

/// Bytes of a message's id.
pub(crate) const MESSAGE_ID_BYTES: usize = HASH_BYTES + 12;

impl MessageId {
    /// Its key: ascending as ids are.
    pub(crate) fn key(self) -> [u8; MESSAGE_ID_BYTES] {
        let mut key = [0; MESSAGE_ID_BYTES];
        key[..HASH_BYTES].copy_from_slice(&self.to.0);
        key[HASH_BYTES..][..8].copy_from_slice(&self.position.0.to_be_bytes());
        key[HASH_BYTES + 8..].copy_from_slice(&self.number.to_be_bytes());
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

/// Which of a version's messages it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) version: VersionHash,
    pub(crate) index: u32,
}

impl Sent {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = self.version.0.to_vec();
        bytes.put_u32(self.index);
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
    /// Whom its messages are to.
    pub receivers: Vec<ObjectId>,
}

impl Sending {
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
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

    /// The messages, when `next` of those of the frame at `position` were counted before.
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

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The receiver's version is in the same append.
    Delivered,
    /// Nothing, for this reason. What is longer than 1,024 bytes is cut.
    Dead(String),
}

/// A message that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The message.
    pub id: MessageId,
    /// What became of it.
    pub fate: Fate,
}

impl Taking {
    /// It as a frame has it: what is longer is cut.
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
                to.put_u8(1).put_blob(why.as_bytes());
            }
        }
    }

    pub(crate) fn read(mut reader: Reader<'_>) -> Result<Taking> {
        let to = ObjectId(reader.array()?);
        let (position, number) = (Position(reader.u64()?), reader.u32()?);
        let fate = match reader.u8()? {
            0 => Fate::Delivered,
            1 => Fate::Dead(reader.text(WHY_BYTES_MAX)?.to_string()),
            other => return Err(reader.fail(1, "0 or 1", other).into()),
        };
        reader.end()?;
        Ok(Taking { id: MessageId { to, position, number }, fate })
    }
}

/// What is kept of a message that came to nothing.
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

/// What a generation of rows changes of the messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// Those that came on their way, or went.
    pub(crate) changed: BTreeMap<MessageId, Option<Sent>>,
    pub(crate) dead: BTreeMap<MessageId, Dead>,
}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.dead.is_empty()
    }

    pub(crate) fn send(&mut self, id: MessageId, sent: Sent) {
        self.changed.insert(id, Some(sent));
    }

    pub(crate) fn take(&mut self, id: MessageId, sent: Sent, fate: &Fate) {
        // One that came in the same generation never was anywhere else.
        if self.changed.remove(&id).is_none() {
            self.changed.insert(id, None);
        }
        if let Fate::Dead(why) = fate {
            self.dead.insert(id, Dead { sent, why: why.clone() });
        }
    }
}

/// A message on its way, with what it says.
#[derive(Clone, Debug)]
pub struct SentMessage {
    /// Which one it is.
    pub id: MessageId,
    /// Where it is from.
    pub origin: Origin,
    /// When it was sent, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// What it says.
    pub message: Message,
}

/// A message that came to nothing.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Which one.
    pub id: MessageId,
    /// Who sent it.
    pub sender: ObjectId,
    /// With which version.
    pub seq: u64,
    /// Its place among the messages of that version.
    pub index: u32,
    /// What it says; none once retention has let go what the version says.
    pub message: Option<Message>,
    /// Why it came to nothing.
    pub why: String,
}

impl Store {
    /// The first messages on their way to an object, at most 64, and all of one version; none when
    /// there is none.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn next_messages(&self, to: ObjectId) -> Result<Vec<SentMessage>> {
        let heads = self.inner().heads.lock();
        let first: Vec<_> = heads.messages_to(to).take(READ_MAX).collect();
        drop(heads);
        first
            .chunk_by(|one, next| one.1.version == next.1.version)
            .next()
            .map_or_else(|| Ok(Vec::new()), |of_one_version| self.inner().messages(of_one_version))
    }

    /// The messages on their way to an object, without what they say.
    pub fn messages_to(&self, to: ObjectId) -> Vec<MessageId> {
        self.inner().heads.lock().messages_to(to).map(|(id, _)| id).collect()
    }

    /// Those that messages are on their way to, ascending.
    pub fn receivers(&self) -> Vec<ObjectId> {
        self.inner().heads.lock().receivers()
    }

    /// How many messages are on their way.
    pub fn message_count(&self) -> usize {
        self.inner().heads.lock().message_count()
    }

    /// At most `limit` messages that came to nothing, from the first behind `after`: by receiver,
    /// and then as they were sent.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn dead_letters(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<DeadLetter>> {
        // Memory first: what moves to the index meanwhile is then seen twice, not never.
        let unwritten = self.inner().heads.lock().unwritten_dead(after, limit);
        let mut all = self.inner().indexed(|index| index.dead_letters(after, limit))?;
        all.extend(unwritten);
        all.into_iter().take(limit).map(|(id, dead)| self.inner().dead_letter(id, dead)).collect()
    }
}

impl Inner {
    fn sender(&self, id: MessageId, sent: Sent) -> Result<StoredCommit> {
        read_commit(&self.log, Link { hash: sent.version, position: id.position })
    }

    /// Messages of one version, of which there is one.
    fn messages(&self, all: &[(MessageId, Sent)]) -> Result<Vec<SentMessage>> {
        let stored = self.sender(all[0].0, all[0].1)?;
        let (header, payloads) = (stored.header(), stored.payloads());
        let payloads = payloads.ok_or_else(|| stored.pruned(header.seq))?;
        let (input, effects) = (Input::decode(payloads.input)?, Effects::decode(payloads.effects)?);
        let count = effects.messages.len();
        let first_policy = self.first_policy(&stored)?;
        let message = |&(id, sent): &(MessageId, Sent)| {
            let message = effects.messages.get(sent.index as usize);
            let message = message.ok_or_else(|| no_message(id, sent))?.clone();
            let origin = Origin {
                sender: header.object_id(),
                seq: header.seq,
                version: sent.version,
                code: header.code,
                policy: header.policy,
                first_policy,
                index: sent.index,
                fuel: fuel_share(input.request.fuel_max(), header.fuel, count),
            };
            Ok(SentMessage { id, origin, time: header.time, message })
        };
        all.iter().map(message).collect()
    }

    /// The policy that an object was created with.
    fn first_policy(&self, stored: &StoredCommit) -> Result<Option<PolicyHash>> {
        let header = stored.header();
        let genesis = match header.seq {
            0 => header.clone(),
            _ => {
                let (hash, position) = (VersionHash(header.object.0), stored.notes().genesis);
                read_commit(&self.log, Link { hash, position })?.header().clone()
            }
        };
        Ok((genesis.kind == Kind::Create).then_some(genesis.policy))
    }

    fn dead_letter(&self, id: MessageId, dead: Dead) -> Result<DeadLetter> {
        let Dead { sent, why } = dead;
        let stored = self.sender(id, sent)?;
        let effects = stored.payloads().map(|payloads| Effects::decode(payloads.effects));
        let message = effects.transpose()?.map(|effects| {
            let message = effects.messages.into_iter().nth(sent.index as usize);
            message.ok_or_else(|| no_message(id, sent))
        });
        let (sender, seq) = (stored.header().object_id(), stored.header().seq);
        Ok(DeadLetter { id, sender, seq, index: sent.index, message: message.transpose()?, why })
    }

    /// The frames whose messages are on their way.
    pub(crate) fn frames_with_messages(&self) -> BTreeSet<Position> {
        self.heads.lock().messages().map(|(id, _)| id.position).collect()
    }
}

fn no_message(id: MessageId, sent: Sent) -> Error {
    damaged(id.position, format!("message {} of version {}", sent.index, sent.version), "none")
}

/// That messages are of versions in their frame, and are to whom those versions sent them.
pub(crate) fn validate_sending(
    frames: &impl Frames,
    position: Position,
    sending: &Sending,
) -> Result<()> {
    let stored = read_commit(frames, Link { hash: sending.version, position })?;
    let Some(payloads) = stored.payloads() else { return Ok(()) };
    let effects = Effects::decode(payloads.effects)?;
    match effects.messages.iter().map(|it| it.to).eq(sending.receivers.iter().copied()) {
        true => Ok(()),
        false => Err(damaged(position, "the receivers of the version's messages", "others")),
    }
}
