//! Messages on their way: each sent by a version, in that version's frame, and taken once, by the
//! frame that records its outcome.
//!
//! ```text
//!   frame of the sender's version      frame of the receiver's version, or refusal
//!     Sent ------------> on its way to the receiver ------------> Taken: delivered, or dead
//! ```
//!
//! A dead message is kept until it is sent on its way again, unchanged, or dropped for good:
//!
//! ```text
//!   on its way ---- Taken: dead ----> dead letter ---- Taken: dropped
//!        ^                                |
//!        +--------- Taken: again ---------+
//! ```
//!
//! A message is a place in the log; its content is in the effects of the version there, which
//! compaction keeps while the message is on its way or a dead letter. Messages to one object are in
//! the order of the log, so those of one sender to one receiver are in the order of the sender's
//! lineage, except those that are on their way again.
//!
//! This module does not know who delivers messages, nor what is done with them.
//!
//! Invariant: a message is returned as the sending version states it.

use std::collections::{BTreeMap, BTreeSet};

use object::effects::Effects;
use object::hash::{ObjectId, PolicyHash, VersionHash};
use object::header::Kind;
use object::input::Input;
use object::message::{Message, Origin, fuel_share};
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, Result};
use crate::log::frame::{Frames, damaged};
use crate::read::version::{StoredCommit, read_commit};
use crate::record::link::Link;
use crate::record::message::{Dead, MessageId, Sending, Sent};
use crate::store::{Inner, Store};

/// Messages of one version that are read at a time.
const READ_MAX: usize = 64;
/// The number of dead letters that are read at a time.
const DEAD_PAGE: usize = 4096;

/// A message on its way, with its content.
#[derive(Clone, Debug)]
pub struct SentMessage {
    /// The message's id.
    pub id: MessageId,
    /// The message's origin.
    pub origin: Origin,
    /// The time of sending.
    pub time: Time,
    /// The message's content.
    pub message: Message,
}

/// A message that came to nothing.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message's id.
    pub id: MessageId,
    /// The sender.
    pub sender: ObjectId,
    /// The sequence number of the sending version.
    pub seq: u64,
    /// The hash of the sending version.
    pub version: VersionHash,
    /// The message's index among those of the version.
    pub index: u32,
    /// The message's content; none when the log no longer has it.
    pub message: Option<Message>,
    /// The reason why it could not be delivered.
    pub why: String,
}

impl DeadLetter {
    /// Returns a token that identifies the message, and stays the same whatever becomes of it.
    pub fn token(&self) -> String {
        format!("{}-{}", self.version, self.index)
    }
}

impl Store {
    /// Returns the first messages on their way to an object, at most 64, and all of one version;
    /// empty when there are none.
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

    /// Returns the messages on their way to an object, without their content.
    pub fn messages_to(&self, to: ObjectId) -> Vec<MessageId> {
        self.inner().heads.lock().messages_to(to).map(|(id, _)| id).collect()
    }

    /// Returns the receivers of messages on their way, ascending.
    pub fn receivers(&self) -> Vec<ObjectId> {
        self.inner().heads.lock().receivers()
    }

    /// Returns the number of messages on their way.
    pub fn message_count(&self) -> usize {
        self.inner().heads.lock().message_count()
    }

    /// Returns at most `limit` dead letters, from the first behind `after`: by receiver, and then
    /// in the order of sending.
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
        let dead = self.inner().find_dead(id)?;
        dead.map(|dead| self.inner().dead_letter(id, dead)).transpose()
    }
}

impl Inner {
    /// Returns at most `limit` dead letters, from the first behind `after`.
    fn dead(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<(MessageId, Dead)>> {
        let (mut found, mut after) = (Vec::new(), after);
        while found.len() < limit {
            // Memory first: an entry that moves to the index meanwhile is then seen twice, not
            // never.
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
    pub(crate) fn find_dead(&self, id: MessageId) -> Result<Option<Dead>> {
        let known = self.heads.lock().dead(id);
        match known {
            Some(known) => Ok(known),
            None => self.indexed(|index| index.dead_letter(id)),
        }
    }

    pub(crate) fn sender(&self, id: MessageId, sent: Sent) -> Result<StoredCommit> {
        read_commit(&self.log, Link { hash: sent.version, position: id.position })
    }

    /// Reads messages of one version, at least one.
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
        let genesis = match header.object {
            None => header.clone(),
            Some(id) => {
                let (hash, position) = (VersionHash(id.0), stored.notes().genesis);
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

    /// Returns the frames whose messages are on their way, or may be again.
    pub(crate) fn frames_with_messages(&self) -> Result<BTreeSet<Position>> {
        let heads = self.heads.lock();
        let mut frames: BTreeSet<_> = heads.messages().map(|(id, _)| id.position).collect();
        let unwritten = heads.unwritten_dead(None, usize::MAX);
        // Both are read under the lock, so that no message is missed that moves between the two.
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

/// Checks that the messages are of versions in their frame, and go to the receivers that those
/// versions name.
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
