//! The past, as far as a policy reads it: for each tracked action, how many versions it made, when
//! it made the last one, and which keys asked for the last few.
//!
//! Only what the policy reads is kept, from the version that brings the policy in. Refusals do not
//! count.
//!
//! Invariant: marks are ascending by action; times in a mark ascend.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::error::Result;
use crate::limits::{NAME_BYTES_MAX, PAST_ACTIONS_MAX, PAST_RECENT_MAX, SEQ_MAX};
use crate::time::Time;

/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
pub const HOUR: Duration = Duration::from_secs(60 * 60);
/// A day: versions are remembered for as long, one by one.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The actions whose past a policy reads, and the keys that its text names.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tracked {
    actions: BTreeSet<String>,
    /// True if recent versions are kept one by one.
    recent: bool,
    keys: BTreeSet<PublicKey>,
}

impl Tracked {
    /// Tracks nothing.
    pub const NONE: &Tracked =
        &Tracked { actions: BTreeSet::new(), recent: false, keys: BTreeSet::new() };

    /// Tracks these actions, at most [`PAST_ACTIONS_MAX`]: their counts and, with `recent`, their
    /// last versions one by one.
    pub fn new(actions: impl IntoIterator<Item = String>, recent: bool) -> Tracked {
        let actions = actions.into_iter().take(PAST_ACTIONS_MAX).collect();
        Tracked { actions, recent, keys: BTreeSet::new() }
    }

    /// Adds the keys that the policy's text names.
    pub fn naming(self, keys: impl IntoIterator<Item = PublicKey>) -> Tracked {
        Tracked { keys: keys.into_iter().collect(), ..self }
    }

    /// Returns whether the policy's text names a key.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// Returns whether the policy reads something of the past.
    pub fn reads_past(&self) -> bool {
        !self.actions.is_empty()
    }

    pub(super) fn has(&self, action: &str) -> bool {
        self.actions.contains(action)
    }
}

/// The past, as far as the policy reads it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Past(Vec<Mark>);

/// The record of the versions that one action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    action: String,
    count: u64,
    seq: u64,
    time: Time,
    /// The last ones within a day, oldest first.
    recent: Vec<Recent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recent {
    time: Time,
    /// The first bytes of the asking key, at least 1; 0 for nobody. Keys with the same first bytes
    /// count as one, so that nobody becomes many by choosing keys.
    signer: u64,
}

const RECENT_BYTES: usize = 16;

impl Past {
    /// Bytes that it takes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let mark = |mark: &Mark| mark.action.len() + size_of_val(&mark.recent[..]);
        size_of_val(&self.0[..]) + self.0.iter().map(mark).sum::<usize>()
    }

    /// The past of an object whose policy reads none of it.
    pub const NONE: &Past = &Past(Vec::new());

    /// Returns the record of an action; none when it made no version yet.
    pub fn of(&self, action: &str) -> Option<&Mark> {
        self.find(action).ok().map(|index| &self.0[index])
    }

    fn find(&self, action: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|mark| mark.action.as_str().cmp(action))
    }

    /// Returns whether every mark here is one that `tracked` asks for.
    pub(super) fn is_within(&self, tracked: &Tracked) -> bool {
        let mut marks = self.0.iter();
        marks.all(|it| tracked.has(&it.action) && (tracked.recent || it.recent.is_empty()))
    }

    /// Records a version that `action` made, and forgets whatever `tracked` does not ask for.
    pub(super) fn record(
        &mut self,
        tracked: &Tracked,
        action: &str,
        seq: u64,
        time: Time,
        signer: Option<&PublicKey>,
    ) {
        self.0.retain(|mark| tracked.has(&mark.action));
        if !tracked.recent {
            self.0.iter_mut().for_each(|mark| mark.recent.clear());
        }
        if !tracked.has(action) {
            return;
        }
        let index = self.find(action).unwrap_or_else(|index| {
            let action = action.to_string();
            self.0.insert(index, Mark { action, count: 0, seq, time, recent: Vec::new() });
            index
        });
        let mark = &mut self.0[index];
        (mark.count, mark.seq, mark.time) = (mark.count + 1, seq, time);
        if tracked.recent {
            mark.recent.retain(|recent| recent.is_within(time, DAY));
            if mark.recent.len() == PAST_RECENT_MAX {
                mark.recent.remove(0);
            }
            let signer = signer.and_then(|key| key.0.first_chunk().copied());
            let signer = signer.map_or(0, |bytes| u64::from_le_bytes(bytes).max(1));
            mark.recent.push(Recent { time, signer });
        }
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.put_count(self.0.len());
        for mark in &self.0 {
            bytes.put_blob(mark.action.as_bytes());
            bytes.put_u64(mark.count).put_u64(mark.seq).put_time(mark.time);
            bytes.put_count(mark.recent.len() * RECENT_BYTES);
            for recent in &mark.recent {
                bytes.put_time(recent.time).put_u64(recent.signer);
            }
        }
    }

    pub(super) fn decode_from(reader: &mut Reader<'_>) -> Result<Past> {
        let count = reader.count(PAST_ACTIONS_MAX, 26)?;
        let mut marks: Vec<Mark> = Vec::with_capacity(count);
        for _ in 0..count {
            let action = reader.text(NAME_BYTES_MAX)?.to_string();
            if marks.last().is_some_and(|last| last.action >= action) {
                return Err(reader.fail(0, "ascending actions", action));
            }
            let (count, seq, time) = (reader.u64()?, reader.u64()?, reader.time()?);
            if !(1..=SEQ_MAX).contains(&count) || count > seq || seq > SEQ_MAX {
                return Err(reader.fail(24, "1 to as many as there are versions", count));
            }
            let recent_bytes = reader.count(PAST_RECENT_MAX * RECENT_BYTES, 1)?;
            if !recent_bytes.is_multiple_of(RECENT_BYTES) {
                return Err(reader.fail(0, "a multiple of 16", recent_bytes));
            }
            let mut recent = Vec::with_capacity(recent_bytes / RECENT_BYTES);
            for _ in 0..recent_bytes / RECENT_BYTES {
                recent.push(Recent { time: reader.time()?, signer: reader.u64()? });
            }
            let ascend = recent.is_sorted_by_key(|recent| recent.time);
            let is_last = recent.last().is_none_or(|last| last.time == time);
            if !ascend || !is_last || recent.len() as u64 > count {
                return Err(reader.fail(0, "times that ascend to the last", "others"));
            }
            marks.push(Mark { action, count, seq, time, recent });
        }
        Ok(Past(marks))
    }
}

impl Mark {
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
            recent.signer != 0 && !before.any(|other| signer(other) == recent.signer)
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
}
