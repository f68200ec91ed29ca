//! Messages on their way: each sent by a version, in the frame that has it, and taken by the frame
//! that has what became of it, once.
//!
//! ```text
//!   frame of the sender's version      frame of the receiver's version, or refusal
//!     Sent ------------> on its way to the receiver ------------> Taken: delivered, or dead
//! ```
//!
//! A dead one is kept until it is sent on its way again, as what it was, or dropped for good:
//!
//! ```text
//!   on its way ---- Taken: dead ----> dead letter ---- Taken: dropped
//!        ^                                |
//!        +--------- Taken: again ---------+
//! ```
//!
//! A message is a place in the log; what it says is in the effects of the version there, which
//! compaction keeps as long as the message is on its way or a dead letter. Messages to one object
//! are in the order of the log, so those of one sender to one receiver are in the order of the
//! sender's lineage, but for those that are on their way again.
//!
//! It does not know who delivers messages, nor what is done with them.
//!
//! Invariant: a frame that takes a message is appended only while the message is on its way, and
//! one that takes a dead letter only while there is that letter.

use std::collections::{BTreeMap, BTreeSet};

use object::codec::{Reader, Write};
use object::effects::Effects;
use object::hash::{HASH_BYTES, ObjectId, PolicyHash, VersionHash};
use object::header::Kind;
use object::input::Input;
use object::limits::MESSAGES_MAX;
use object::message::{Message, Origin, fuel_share};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::log::frame::damaged;
use crate::log::record::Body;
use crate::log::{Frames, Position};
use crate::row::Link;
use crate::store::{Inner, Store};
use crate::stored::{StoredCommit, read_commit};

/// Messages of one version that are read at a time.
const READ_MAX: usize = 64;
/// Dead letters that are looked at at a time.
const DEAD_PAGE: usize = 4096;
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
    /// It was a dead letter, and is on its way again.
    Again,
    /// It was a dead letter, and is none any more.
    Dropped,
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
    /// Dead letters that came, or went.
    pub(crate) dead: BTreeMap<MessageId, Option<Dead>>,
    /// Those that came on their way again: there may be rows of when they came first.
    again: BTreeSet<MessageId>,
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
        if self.changed.remove(&id).is_none() || self.again.contains(&id) {
            self.changed.insert(id, None);
        }
        if let Fate::Dead(why) = fate {
            self.dead.insert(id, Some(Dead { sent, why: why.clone() }));
        }
    }

    /// A dead letter is none any more, and is on its way again if that is said.
    pub(crate) fn let_go(&mut self, id: MessageId, again: Option<Sent>) {
        self.dead.insert(id, None);
        if let Some(sent) = again {
            self.changed.insert(id, Some(sent));
            self.again.insert(id);
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
    /// That version.
    pub version: VersionHash,
    /// Its place among the messages of that version.
    pub index: u32,
    /// What it says; none when the log does not have it any more.
    pub message: Option<Message>,
    /// Why it came to nothing.
    pub why: String,
}

impl DeadLetter {
    /// What tells the message from every other, and is the same whatever becomes of it.
    pub fn token(&self) -> String {
        format!("{}-{}", self.version, self.index)
    }
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
        let all = self.inner().dead(after, limit)?;
        all.into_iter().map(|(id, dead)| self.inner().dead_letter(id, dead)).collect()
    }

    /// The dead letter that is of this message, if there is one.
    ///
    /// # Errors
    ///
    /// As of [`Store::dead_letters`].
    pub fn dead_letter(&self, id: MessageId) -> Result<Option<DeadLetter>> {
        let dead = self.inner().find_dead(id)?.0;
        dead.map(|dead| self.inner().dead_letter(id, dead)).transpose()
    }

    /// Sends a dead letter on its way again: to whom it was sent, as what it was, from where it
    /// was. Returns before that is durable; a crash leaves it dead or on its way, never both.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no such dead letter,
    /// [`Pruned`](ErrorKind::Pruned) when retention let go what it says; those of the file system,
    /// and damage.
    pub fn retry_dead_letter(&self, id: MessageId) -> Result<()> {
        if let Some(dead) = self.inner().find_dead(id)?.0 {
            let stored = self.inner().sender(id, dead.sent)?;
            stored.payloads().ok_or_else(|| stored.pruned(stored.header().seq))?;
        }
        self.inner().let_go(id, Fate::Again)
    }

    /// Drops a dead letter, for good: that it was dropped stays on record in the log. Returns
    /// before that is durable.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when there is no such dead letter; those of the file
    /// system.
    pub fn drop_dead_letter(&self, id: MessageId) -> Result<()> {
        self.inner().let_go(id, Fate::Dropped)
    }
}

impl Inner {
    /// At most `limit` dead letters, from the first behind `after`.
    fn dead(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<(MessageId, Dead)>> {
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            // Memory first: what moves to the index meanwhile is then seen twice, not never.
            let unwritten = self.heads.lock().unwritten_dead(after, limit);
            let indexed = self.indexed(|index| index.dead_letters(after, limit))?;
            // Behind the last of a page that is full, the other may have more.
            let last = |count: usize, last: Option<&MessageId>| {
                if count < limit { None } else { last.copied() }
            };
            let ends = [
                last(unwritten.len(), unwritten.keys().next_back()),
                last(indexed.len(), indexed.keys().next_back()),
            ];
            let end = ends.into_iter().flatten().min();
            let mut all: BTreeMap<_, _> =
                indexed.into_iter().map(|(id, dead)| (id, Some(dead))).collect();
            all.extend(unwritten);
            all.retain(|id, _| end.is_none_or(|end| *id <= end));
            found.extend(all.into_iter().filter_map(|(id, dead)| Some((id, dead?))));
            after = end;
            if end.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// A dead letter, and the epoch of the heads in which it was found, or found missing.
    fn find_dead(&self, id: MessageId) -> Result<(Option<Dead>, u64)> {
        let (known, epoch) = {
            let heads = self.heads.lock();
            (heads.dead(id), heads.epoch())
        };
        let dead = match known {
            Some(known) => known,
            None => self.indexed(|index| index.dead_letter(id))?,
        };
        Ok((dead, epoch))
    }

    /// Takes a dead letter, for `fate`, in a frame of its own.
    fn let_go(&self, id: MessageId, fate: Fate) -> Result<()> {
        let taking = Taking { id, fate };
        let mut body = Body::default();
        body.taken(&taking);
        let hash = blake3::hash(&body.0);
        let gone = || {
            let place = format!("message {} of the frame at {}", id.number, id.position);
            Error::not_found("dead letter", place).of(id.to)
        };
        loop {
            self.log.wait_for_room()?;
            let (found, epoch) = self.find_dead(id)?;
            let dead = found.ok_or_else(gone)?;
            let mut heads = self.heads.lock();
            if heads.epoch() != epoch {
                continue;
            }
            // Another may have taken it since it was found in the index.
            if heads.dead(id).is_some_and(|known| known.is_none()) {
                return Err(gone());
            }
            let pushed = self.push(&mut heads, &body, hash, Box::new(|_| {}));
            let pushed = pushed.map_err(|(error, _)| error)?;
            heads.let_go(&taking, dead.sent);
            drop(heads);
            drop(pushed);
            return Ok(());
        }
    }

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
        let Sent { version, index } = sent;
        let message = message.transpose()?;
        Ok(DeadLetter { id, sender, seq, version, index, message, why })
    }

    /// The frames whose messages are on their way, or may be again.
    pub(crate) fn frames_with_messages(&self) -> Result<BTreeSet<Position>> {
        let heads = self.heads.lock();
        let mut frames: BTreeSet<_> = heads.messages().map(|(id, _)| id.position).collect();
        let unwritten = heads.unwritten_dead(None, usize::MAX);
        // Of the same moment, so that none is missed that moves between the two.
        let index = self.index.reading()?;
        drop(heads);
        frames.extend(unwritten.iter().filter(|(_, dead)| dead.is_some()).map(|it| it.0.position));
        let mut last = None;
        loop {
            let page = index.dead_letters(last, DEAD_PAGE)?;
            let Some((id, _)) = page.last_key_value() else { return Ok(frames) };
            last = Some(*id);
            let known = |id: &&MessageId| unwritten.get(id).is_none_or(Option::is_some);
            frames.extend(page.keys().filter(known).map(|id| id.position));
        }
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
