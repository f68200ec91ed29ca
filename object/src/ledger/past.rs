//! The past, as far as a policy reads it: for each tracked action, how many versions it made, when
//! it made the last one, and which keys asked for the last few; and the arguments of the versions.
//!
//! Only what the policy reads is kept, from the version that brings the policy in. Refusals do not
//! count.
//!
//! Invariant: marks are ascending by action; times in a mark ascend.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::arguments::{ArgumentMark, Arguments};
use super::tracked::{DAY, Tracked};
use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::error::Result;
use crate::hash::LedgerLeaf;
use crate::input::Input;
use crate::limits::{NAME_BYTES_MAX, PAST_ACTIONS_MAX, PAST_RECENT_MAX, SEQ_MAX};
use crate::time::Time;

/// The past, as far as the policy reads it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Past {
    marks: Vec<Arc<Mark>>,
    /// The arguments of the versions.
    pub(super) arguments: Arguments,
}

/// The record of the versions that one action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    action: String,
    count: u64,
    seq: u64,
    time: Time,
    /// The last ones within a day, oldest first.
    recent: Vec<Recent>,
    /// The hash of the mark.
    hash: LedgerLeaf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recent {
    time: Time,
    /// The first bytes of the asking key, if there was one. Keys with the same first bytes count as
    /// one, so that nobody becomes many by choosing keys.
    signer: Option<u64>,
}

/// Bytes of a recent version.
const RECENT_BYTES: usize = 17;
/// Bytes that a mark has at least.
const MARK_BYTES_MIN: usize = 5;
/// Numbers of a mark that changed, beside its place.
const CHANGE_NUMBERS: usize = 5;

impl Past {
    /// Bytes that it takes in memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        let mark =
            |mark: &Arc<Mark>| mark.action.len() + size_of_val(&mark.recent[..]) + MARK_OWN_BYTES;
        let marks = size_of_val(&self.marks[..]) + self.marks.iter().map(mark).sum::<usize>();
        marks + self.arguments.memory_bytes()
    }

    /// The past of an object whose policy reads none of it.
    pub const NONE: &Past = &Past { marks: Vec::new(), arguments: Arguments::NONE };

    /// Returns the record of an action; none when it made no version yet.
    pub fn of(&self, action: &str) -> Option<&Mark> {
        self.find(action).ok().map(|index| &*self.marks[index])
    }

    /// Returns the record of an argument of an action; none when there is nothing to remember.
    pub fn argument(&self, action: &str, name: &str) -> Option<&ArgumentMark> {
        self.arguments.of(action, name)
    }

    fn find(&self, action: &str) -> Result<usize, usize> {
        self.marks.binary_search_by(|mark| mark.action.as_str().cmp(action))
    }

    /// Returns whether every mark here is one that `tracked` asks for.
    pub(super) fn is_within(&self, tracked: &Tracked) -> bool {
        let mut marks = self.marks.iter();
        marks.all(|it| tracked.has(&it.action) && (tracked.recent || it.recent.is_empty()))
            && self.arguments.is_within(tracked)
    }

    /// Records a version that `input` of `signer` made, and forgets whatever `tracked` does not ask
    /// for.
    pub(super) fn record(
        &mut self,
        tracked: &Tracked,
        seq: u64,
        input: &Input,
        signer: Option<&PublicKey>,
    ) {
        let (action, time) = (input.request.action(), input.time);
        self.arguments.forget(tracked);
        if let Some(call) = input.request.called() {
            self.arguments.record(tracked, call, (seq, time), signer);
        }
        self.marks.retain(|mark| tracked.has(&mark.action));
        if !tracked.recent {
            for mark in self.marks.iter_mut().filter(|mark| !mark.recent.is_empty()) {
                let recent = Vec::new();
                *mark = Arc::new(Mark { recent, ..Mark::clone(mark) }.hashed());
            }
        }
        if !tracked.has(action) {
            return;
        }
        let (index, mut mark) = match self.find(action) {
            Ok(index) => (index, Mark::clone(&self.marks.remove(index))),
            Err(index) => (index, Mark::new(action.to_string())),
        };
        (mark.count, mark.seq, mark.time) = (mark.count + 1, seq, time);
        if tracked.recent {
            mark.recent.retain(|recent| recent.is_within(time, DAY));
            if mark.recent.len() == PAST_RECENT_MAX {
                mark.recent.remove(0);
            }
            let signer = signer.and_then(|key| key.0.first_chunk().copied());
            mark.recent.push(Recent { time, signer: signer.map(u64::from_le_bytes) });
        }
        self.marks.insert(index, Arc::new(mark.hashed()));
    }

    /// The number of actions, and of their recent versions.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.marks.len(), self.marks.iter().map(|mark| mark.recent.len()).sum())
    }

    /// Appends what the ledger's hash covers, arguments apart.
    pub(super) fn put_root(&self, bytes: &mut Vec<u8>) {
        bytes.put_count(self.marks.len());
        for mark in &self.marks {
            bytes.put(&mark.hash.0);
        }
    }

    /// Appends the changes since `base`, those of arguments apart.
    pub(super) fn put_changes(&self, base: &Past, bytes: &mut Vec<u8>) {
        let is_same = |past: &Past, mark: &Mark| {
            past.of(&mark.action).is_some_and(|other| other.hash == mark.hash)
        };
        let changed = base.marks.iter().enumerate().filter(|(_, old)| !is_same(self, old));
        let changed: Vec<(usize, &Arc<Mark>)> = changed.collect();
        let (mut next, mut advanced) = (0, BTreeSet::new());
        bytes.put_count(changed.len());
        for (index, old) in changed {
            bytes.put_count(index - next);
            next = index + 1;
            if self.of(&old.action).is_some_and(|mark| mark.put_advance(old, bytes)) {
                advanced.insert(&old.action);
            } else {
                bytes.put(&[0; CHANGE_NUMBERS]);
            }
        }
        let is_new = |mark: &&Arc<Mark>| !advanced.contains(&mark.action) && !is_same(base, mark);
        let new: Vec<&Arc<Mark>> = self.marks.iter().filter(is_new).collect();
        bytes.put_count(new.len());
        for mark in new {
            bytes.put_blob(mark.action.as_bytes()).put_varint(mark.count).put_varint(mark.seq);
            bytes.put_varint(mark.time.as_millis()).put_count(mark.recent.len());
            mark.recent.iter().for_each(|recent| recent.put(bytes));
        }
    }

    /// Reads the changes since this past, its arguments apart.
    pub(super) fn changed_by(&self, reader: &mut Reader<'_>) -> Result<Past> {
        let (mut kept, mut next) = (Vec::with_capacity(self.marks.len()), 0);
        for _ in 0..reader.count(self.marks.len(), 1 + CHANGE_NUMBERS)? {
            let index = reader.varint()?.saturating_add(next as u64);
            let found = usize::try_from(index).ok().filter(|index| *index < self.marks.len());
            let index = found.ok_or_else(|| reader.fail(0, "an action that is here", index))?;
            kept.extend_from_slice(&self.marks[next..index]);
            next = index + 1;
            kept.extend(self.marks[index].advanced(reader)?.map(Arc::new));
        }
        kept.extend_from_slice(&self.marks[next..]);
        let mut changed = Past { marks: kept, arguments: self.arguments.clone() };
        let room = PAST_ACTIONS_MAX.saturating_sub(changed.marks.len());
        for _ in 0..reader.count(room, MARK_BYTES_MIN)? {
            let mark = Mark::read(reader)?;
            match changed.find(&mark.action) {
                Ok(_) => return Err(reader.fail(0, "a new action", &mark.action)),
                Err(index) => changed.marks.insert(index, Arc::new(mark)),
            }
        }
        Ok(changed)
    }
}

/// Bytes of a mark and of the counts that an [`Arc`] has beside it.
const MARK_OWN_BYTES: usize = size_of::<Mark>() + 2 * size_of::<usize>();

impl Mark {
    /// Returns the mark of an action that made no version yet.
    fn new(action: String) -> Mark {
        let (count, seq, time, recent, hash) = Default::default();
        Mark { action, count, seq, time, recent, hash }
    }

    /// Returns the mark with its hash.
    fn hashed(mut self) -> Mark {
        let mut bytes = Vec::with_capacity(64 + self.recent.len() * RECENT_BYTES);
        bytes.put_blob(self.action.as_bytes()).put_u64(self.count).put_u64(self.seq);
        bytes.put_time(self.time).put_count(self.recent.len());
        self.recent.iter().for_each(|recent| recent.put(&mut bytes));
        self.hash = LedgerLeaf::of(&bytes);
        self
    }

    /// Appends by how much this is ahead of an earlier mark, if it only advanced; returns whether
    /// it did.
    fn put_advance(&self, old: &Mark, bytes: &mut Vec<u8>) -> bool {
        let [count, seq, time] = match [
            self.count.checked_sub(old.count),
            self.seq.checked_sub(old.seq),
            self.time.as_millis().checked_sub(old.time.as_millis()),
        ] {
            [Some(count @ 1..), Some(seq), Some(time)] => [count, seq, time],
            _ => return false,
        };
        // Versions since then are the last ones; those before them are the end of the earlier ones.
        let new = self.recent.len().min(usize::try_from(count).unwrap_or(usize::MAX));
        let (stay, new) = self.recent.split_at(self.recent.len() - new);
        if !old.recent.ends_with(stay) {
            return false;
        }
        bytes.put_varint(count).put_varint(seq).put_varint(time);
        bytes.put_count(old.recent.len() - stay.len()).put_count(new.len());
        new.iter().for_each(|recent| recent.put(bytes));
        true
    }

    /// Reads the mark that this one advanced to; none when it went.
    fn advanced(&self, reader: &mut Reader<'_>) -> Result<Option<Mark>> {
        let [count, seq, time] = [reader.varint()?, reader.varint()?, reader.varint()?];
        let dropped = reader.count(self.recent.len(), 0)?;
        let mut recent = self.recent[dropped..].to_vec();
        let room = PAST_RECENT_MAX.saturating_sub(recent.len());
        for _ in 0..reader.count(room, RECENT_BYTES)? {
            recent.push(Recent::read(reader)?);
        }
        if count == 0 {
            return Ok(None);
        }
        let mark = Mark {
            action: self.action.clone(),
            count: self.count.saturating_add(count),
            seq: self.seq.saturating_add(seq),
            time: Time::from_millis(self.time.as_millis().saturating_add(time)),
            recent,
            hash: self.hash,
        };
        mark.validated(reader).map(Some)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Mark> {
        let action = reader.text(NAME_BYTES_MAX)?.to_string();
        let (count, seq) = (reader.varint()?, reader.varint()?);
        let time = Time::from_millis(reader.varint()?);
        let recents = reader.count(PAST_RECENT_MAX, RECENT_BYTES)?;
        let recent = (0..recents).map(|_| Recent::read(reader)).collect::<Result<_>>()?;
        Mark { count, seq, time, recent, ..Mark::new(action) }.validated(reader)
    }

    /// Returns the mark, which was just read, with its hash.
    fn validated(self, reader: &Reader<'_>) -> Result<Mark> {
        let Mark { count, seq, time, recent, .. } = &self;
        if !(1..=SEQ_MAX).contains(count) || count > seq || *seq > SEQ_MAX {
            return Err(reader.fail(0, "1 to as many as there are versions", count));
        }
        let ascend = recent.is_sorted_by_key(|recent| recent.time);
        let is_last = recent.last().is_none_or(|last| last.time == *time);
        if !ascend || !is_last || recent.len() as u64 > *count {
            return Err(reader.fail(0, "times that ascend to the last", "others"));
        }
        Ok(self.hashed())
    }
    /// Returns the number of versions that the action made.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last version that it made.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The time of that version.
    pub fn time(&self) -> Time {
        self.time
    }

    /// Returns the number of versions that the action made in the `window` before `time`, at most
    /// a day: exact below [`PAST_RECENT_MAX`], else `i64::MAX`, so that a rule with
    /// a limit refuses when the count is unknown.
    pub fn count_within(&self, time: Time, window: Duration) -> u64 {
        match self.within(time, window).count() {
            PAST_RECENT_MAX.. => i64::MAX as u64,
            count => count as u64,
        }
    }

    /// Returns the number of distinct keys that asked for those versions, among the last
    /// [`PAST_RECENT_MAX`]; each version counts the key of its principal.
    pub fn signers_within(&self, time: Time, window: Duration) -> u64 {
        let signer = |recent: &Recent| recent.signer;
        let is_first = |(index, recent): &(usize, &Recent)| {
            let mut before = self.within(time, window).take(*index);
            recent.signer.is_some() && !before.any(|other| signer(other) == recent.signer)
        };
        self.within(time, window).enumerate().filter(is_first).count() as u64
    }

    fn within(&self, time: Time, window: Duration) -> impl Iterator<Item = &Recent> {
        self.recent.iter().filter(move |recent| recent.is_within(time, window))
    }
}

impl Recent {
    fn is_within(&self, time: Time, window: Duration) -> bool {
        self.time.saturating_add(window) > time
    }
    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_time(self.time).put_u8(u8::from(self.signer.is_some()));
        bytes.put_u64(self.signer.unwrap_or_default());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Recent> {
        let (time, is_signed, signer) = (reader.time()?, reader.flag()?, reader.u64()?);
        if !is_signed && signer != 0 {
            return Err(reader.fail(8, "0 for no signer", signer));
        }
        Ok(Recent { time, signer: is_signed.then_some(signer) })
    }
}
