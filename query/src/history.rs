//! The history of an object: its versions with their inputs and effects, and its refusals.
//!
//! Entries are read one at a time and from either end, so a long history costs no memory. The ends
//! of a time range are found in a few steps, at any depth. Only refusals read oldest first are held
//! in memory, since they are linked the other way: those in the range, up to the limit. This module
//! checks each entry's bytes as it reads them; verifying the chain is verification's work.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use object::effects::{Admission, Effects};
use object::hash::{CodeHash, ObjectId, PolicyHash, VersionHash};
use object::header::Header;
use object::input::Input;
use object::refusal::Refusal;
use object::time::Time;
use storage::{Direction, ErrorKind, RecordEntry, Result, Store, StoredCommit};

/// One entry of a history.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all entries are versions")]
pub enum Entry {
    /// An admitted version.
    Version(VersionEntry),
    /// An input that was refused, behind the version before its seq.
    Refusal(RefusalEntry),
}

/// The place of an entry in its object's history: places ascend along a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPlace {
    /// The sequence number of the version, or of the version that the refusal stands behind.
    pub seq: u64,
    /// The refusal's [number](RefusalEntry::number); 0 of a version.
    pub refusal: u64,
}

/// An admitted version, and its payloads.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionEntry {
    /// The version's header.
    pub header: Header,
    /// The version's hash.
    pub hash: VersionHash,
    /// The payloads that the header names, without the memory; none when retention dropped them.
    pub payloads: Option<Payloads>,
}

/// The payloads of a version: its input and its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Payloads {
    /// The request and its credential.
    pub input: Input,
    /// The step's result and all that it sent out.
    pub effects: Effects,
    /// The signers, and the rules that permitted the version.
    pub admission: Admission,
}

/// A refusal and the refused input.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusalEntry {
    /// The refusal's place among the object's refusals, from 1, oldest first.
    pub number: u64,
    /// The refusal.
    pub refusal: Refusal,
    /// The request and its credential.
    pub input: Input,
    /// The object's code and policy at the time.
    pub under: (CodeHash, PolicyHash),
}

impl Entry {
    /// Returns the code and the policy of the version, or of the version that the refusal is
    /// behind: the input is encoded for that code.
    pub fn under(&self) -> (CodeHash, PolicyHash) {
        match self {
            Entry::Version(version) => (version.header.code, version.header.policy),
            Entry::Refusal(refusal) => refusal.under,
        }
    }

    /// Returns the entry's place in the history, behind which another list may
    /// [continue](History::after).
    pub fn place(&self) -> EntryPlace {
        match self {
            Entry::Version(version) => EntryPlace { seq: version.header.seq, refusal: 0 },
            Entry::Refusal(RefusalEntry { number, refusal, .. }) => {
                EntryPlace { seq: refusal.seq.saturating_sub(1), refusal: *number }
            }
        }
    }

    /// Returns the entry's time.
    pub fn time(&self) -> Time {
        match self {
            Entry::Version(version) => version.header.time,
            Entry::Refusal(refusal) => refusal.input.time,
        }
    }
}

impl VersionEntry {
    /// Decodes a stored commit.
    ///
    /// # Errors
    ///
    /// [`Object`](storage::ErrorKind::Object) when a payload does not decode.
    pub fn decode(stored: &StoredCommit) -> Result<VersionEntry> {
        let decode = |payloads: storage::PayloadBytes<'_>| -> Result<Payloads> {
            let input = Input::decode(payloads.input)?;
            let effects = Effects::decode(payloads.effects)?;
            let admission = Admission::decode(payloads.admission)?;
            Ok(Payloads { input, effects, admission })
        };
        let payloads = stored.payloads().map(decode).transpose()?;
        Ok(VersionEntry { header: stored.header().clone(), hash: stored.hash(), payloads })
    }
}

impl RefusalEntry {
    /// Decodes a stored refusal. `number` is its place among the object's refusals, from 1, and
    /// `under` the object's code and policy at the time.
    ///
    /// # Errors
    ///
    /// [`Object`](storage::ErrorKind::Object) when its input does not decode.
    pub fn decode(
        number: u64,
        refusal: Refusal,
        under: (CodeHash, PolicyHash),
    ) -> Result<RefusalEntry> {
        let input = Input::decode(&refusal.input)?;
        Ok(RefusalEntry { number, refusal, input, under })
    }
}

/// The object's code and policy in the version that refusals stand behind.
#[derive(Clone, Copy)]
struct Behind {
    parent: VersionHash,
    under: (CodeHash, PolicyHash),
}

impl Behind {
    fn of(store: &Store, object: ObjectId, refusal: &Refusal) -> Result<Behind> {
        let seq = refusal.seq.saturating_sub(1);
        let version = store.versions(object, seq..seq + 1, Direction::Forward)?.next();
        let version = version.ok_or_else(|| not_found("version of refusal", object))??;
        let header = version.header();
        Ok(Behind { parent: refusal.parent, under: (header.code, header.policy) })
    }
}

fn not_found(what: &'static str, object: ObjectId) -> storage::Error {
    ErrorKind::NotFound { what, name: object.to_string() }.into()
}

/// The list of an object's history: narrow it down if need be, then iterate.
///
/// An error ends the list: that the object is not in the store, or that a read fails.
#[must_use = "nothing is read before it is iterated over"]
pub struct History<'a> {
    store: &'a Store,
    object: ObjectId,
    refused: bool,
    backwards: bool,
    since: Time,
    until: Time,
    seqs: Range<u64>,
    after: Option<EntryPlace>,
    limit: usize,
    /// The selected entries, without the limit, once the first was asked for.
    entries: Option<Entries<'a>>,
}

type Entries<'a> = Box<dyn Iterator<Item = Result<Entry>> + Send + 'a>;

impl<'a> History<'a> {
    /// Lists the whole history of `object`, oldest first.
    pub fn new(store: &'a Store, object: ObjectId) -> History<'a> {
        let (refused, backwards, after, entries) = Default::default();
        let (since, until, seqs, limit) = (Time::MIN, Time::MAX, 0..u64::MAX, usize::MAX);
        History { store, object, refused, backwards, since, until, seqs, after, limit, entries }
    }

    /// Selects refusals only. Oldest first, the selected refusals are held in memory, so narrow
    /// them down.
    pub fn refused(mut self) -> History<'a> {
        self.refused = true;
        self
    }

    /// Selects versions only, newest first; with [`refused`](History::refused), refusals newest
    /// first.
    pub fn backwards(mut self) -> History<'a> {
        self.backwards = true;
        self
    }

    /// Selects entries from `time` on. Leaves out refusals that stand before the last version from
    /// before `time`, whatever their own times.
    pub fn since(mut self, time: Time) -> History<'a> {
        self.since = time;
        self
    }

    /// Selects entries up to and including `time`. Leaves out refusals that stand behind the first
    /// version after `time`, whatever their own times.
    pub fn until(mut self, time: Time) -> History<'a> {
        self.until = time;
        self
    }

    /// Selects the versions whose sequence numbers are in `range`, and the refusals behind them.
    pub fn seqs(mut self, range: Range<u64>) -> History<'a> {
        self.seqs = range;
        self
    }

    /// Selects entries that come behind `last`, or before it in the list if that is
    /// [`backwards`](History::backwards): pass the last [place](Entry::place) of a list to continue
    /// behind it.
    pub fn after(mut self, last: impl Into<Option<EntryPlace>>) -> History<'a> {
        self.after = last.into();
        self
    }

    /// Selects at most `count` entries.
    pub fn limit(mut self, count: usize) -> History<'a> {
        self.limit = count;
        self
    }

    /// Returns the sequence numbers of the versions that may be selected, including the last
    /// version before them, behind which refusals may be selected too.
    fn range(&self) -> Result<Range<u64>> {
        let Range { mut start, mut end } = self.seqs.clone();
        if let Some(before) = self.since.checked_sub(Duration::from_millis(1)) {
            let last = self.store.seq_as_of(self.object, before)?;
            start = start.max(last.unwrap_or(0));
        }
        if self.until < Time::MAX {
            let last = self.store.seq_as_of(self.object, self.until)?;
            end = end.min(last.map_or(0, |last| last + 1));
        }
        match self.after {
            Some(last) if self.backwards => end = end.min(last.seq.saturating_add(1)),
            Some(last) => start = start.max(last.seq),
            None => {}
        }
        Ok(start..end)
    }

    /// Returns the refusals behind these versions, newest first.
    fn refusals(
        &self,
        range: Range<u64>,
    ) -> Result<impl Iterator<Item = Result<Entry>> + Send + use<'a>> {
        let mut refusals = self.store.refusals_behind(self.object, range)?;
        let (store, object) = (self.store, self.object);
        let mut behind: Option<Behind> = None;
        Ok(std::iter::from_fn(move || {
            let number = refusals.left();
            let refusal = refusals.next()?;
            let entry = refusal.and_then(|refusal| {
                assert!(number > 0, "the store numbers the refusals that it gives from 1");
                let known = behind.filter(|behind| behind.parent == refusal.parent);
                let Behind { under, .. } = match known {
                    Some(known) => known,
                    None => *behind.insert(Behind::of(store, object, &refusal)?),
                };
                RefusalEntry::decode(number, refusal, under)
            });
            Some(entry.map(Entry::Refusal))
        }))
    }

    /// Returns whether an entry is selected.
    fn selects(&self) -> impl Fn(&Result<Entry>) -> bool + Send + 'static {
        let (since, until, after) = (self.since, self.until, self.after);
        let wanted = if self.backwards { Ordering::Less } else { Ordering::Greater };
        move |entry| {
            entry.as_ref().map_or(true, |entry| {
                let is_behind = |last| entry.place().cmp(&last) == wanted;
                (since..=until).contains(&entry.time()) && after.is_none_or(is_behind)
            })
        }
    }

    /// Returns the selected entries, without the limit.
    fn begin(&self) -> Result<Entries<'a>> {
        let (range, selects) = (self.range()?, self.selects());
        Ok(match (self.refused, self.backwards) {
            (true, true) => Box::new(self.refusals(range)?.filter(selects)),
            (true, false) => {
                Box::new(last_first(self.refusals(range)?.filter(selects), self.limit))
            }
            (false, true) => {
                let versions = self.store.versions(self.object, range, Direction::Backward)?;
                let version =
                    |stored: Result<_>| Ok(Entry::Version(VersionEntry::decode(&stored?)?));
                Box::new(versions.map(version).filter(selects))
            }
            (false, false) => {
                let mut under = Default::default();
                let entries = self.store.records(self.object, range)?.map(move |entry| {
                    let entry = match entry? {
                        RecordEntry::Version(stored) => {
                            Entry::Version(VersionEntry::decode(&stored)?)
                        }
                        RecordEntry::Refusal(number, refusal) => {
                            Entry::Refusal(RefusalEntry::decode(number, refusal, under)?)
                        }
                    };
                    under = entry.under();
                    Ok(entry)
                });
                Box::new(entries.filter(selects))
            }
        })
    }

    /// Returns the next entry without the limit.
    fn read(&mut self) -> Result<Option<Entry>> {
        let entries = match &mut self.entries {
            Some(entries) => entries,
            None => {
                let entries = self.begin()?;
                self.entries.insert(entries)
            }
        };
        entries.next().transpose()
    }
}

impl Iterator for History<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.limit == 0 {
            return None;
        }
        let next = self.read().transpose();
        if let (Some(Ok(entry)), Some(last)) = (&next, self.after) {
            debug_assert_eq!(entry.place() < last, self.backwards, "it goes on behind the last");
        }
        self.limit = if let Some(Ok(_)) = next { self.limit - 1 } else { 0 };
        next
    }
}

impl fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("object", &self.object).finish_non_exhaustive()
    }
}

/// Returns the last entries, no more than `limit`, the last of them first.
fn last_first<T>(entries: impl Iterator<Item = T>, limit: usize) -> impl Iterator<Item = T> {
    let mut held = VecDeque::new();
    for entry in entries {
        if held.len() >= limit {
            held.pop_front();
        }
        held.push_back(entry);
    }
    held.into_iter().rev()
}
