//! The history of an object: its versions with their inputs and effects, and its refusals.
//!
//! Entries are read one at a time and from either end, so a long history costs no memory. The ends
//! of a time range are found in a few steps, at any depth. Only refusals read oldest first are held
//! in memory, since they are linked the other way: those in the range, up to the limit. This module
//! checks each entry's bytes as it reads them; verifying the chain is verification's work.

use std::collections::VecDeque;
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

/// A query over an object's history; [`entries`](History::entries) runs it.
#[derive(Debug)]
pub struct History<'a> {
    store: &'a Store,
    object: ObjectId,
    refused: bool,
    backwards: bool,
    since: Time,
    until: Time,
    seqs: Range<u64>,
    limit: usize,
}

impl<'a> History<'a> {
    /// Queries the whole history of `object`, oldest first.
    pub fn new(store: &'a Store, object: ObjectId) -> History<'a> {
        let (refused, backwards) = Default::default();
        let (since, until, seqs, limit) = (Time::MIN, Time::MAX, 0..u64::MAX, usize::MAX);
        History { store, object, refused, backwards, since, until, seqs, limit }
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

    /// Selects at most `count` entries.
    pub fn limit(mut self, count: usize) -> History<'a> {
        self.limit = count;
        self
    }

    /// Returns the sequence numbers of the versions in the time range, including the last version
    /// before it, behind which refusals may be in the range too.
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
        Ok(start..end)
    }

    /// Returns the refusals behind these versions, newest first.
    fn refusals(&self, range: Range<u64>) -> Result<impl Iterator<Item = Result<Entry>> + use<'a>> {
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

    /// Returns the entries.
    ///
    /// *Blocks* while it reads the disk, as each entry does that is asked for.
    ///
    /// # Errors
    ///
    /// The object is not in the store, or a read fails; each entry may fail by itself as well.
    pub fn entries(self) -> Result<impl Iterator<Item = Result<Entry>> + use<'a>> {
        let (since, until, range) = (self.since, self.until, self.range()?);
        let within = move |entry: &Result<Entry>| {
            entry.as_ref().map_or(true, |entry| (since..=until).contains(&entry.time()))
        };
        let entries: Box<dyn Iterator<Item = Result<Entry>> + 'a> =
            match (self.refused, self.backwards) {
                (true, true) => Box::new(self.refusals(range)?),
                (true, false) => {
                    Box::new(last_first(self.refusals(range)?.filter(within), self.limit))
                }
                (false, true) => {
                    let versions = self.store.versions(self.object, range, Direction::Backward)?;
                    Box::new(
                        versions.map(|stored| Ok(Entry::Version(VersionEntry::decode(&stored?)?))),
                    )
                }
                (false, false) => {
                    let mut under = Default::default();
                    Box::new(self.store.records(self.object, range)?.map(move |entry| {
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
                    }))
                }
            };
        Ok(entries.filter(within).take(self.limit))
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
