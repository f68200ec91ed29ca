//! The history of an object: its versions with their inputs and effects, and its refusals.
//!
//! Entries are read one at a time, so a long history costs no memory, and from either end. Where a
//! range of time begins and ends is found in a few steps, however much lies before it. Only
//! refusals, oldest first, are held until all are read, since they are linked the other way: those
//! in the range, and no more than the limit. It does not verify the chain: that is what
//! verify is for; each entry's bytes are checked as they are read.

use std::collections::VecDeque;
use std::ops::Range;

use object::effects::{Admission, Effects};
use object::hash::{CodeHash, ObjectId, PolicyHash, VersionHash};
use object::header::Header;
use object::input::Input;
use object::refusal::Refusal;
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

/// An admitted version and what made it.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionEntry {
    /// Its header.
    pub header: Header,
    /// Its hash.
    pub hash: VersionHash,
    /// What the header names besides the memory; none when retention dropped it.
    pub payloads: Option<Payloads>,
}

/// What made a version, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Payloads {
    /// What was asked for, by whom.
    pub input: Input,
    /// What the step gave back and sent out.
    pub effects: Effects,
    /// Who signed and which rules permitted it.
    pub admission: Admission,
}

/// A refusal and the input that it refused.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusalEntry {
    /// Its place among the object's refusals, from 1, oldest first.
    pub number: u64,
    /// The refusal.
    pub refusal: Refusal,
    /// What was asked for, by whom.
    pub input: Input,
    /// The code and the policy that the object had then.
    pub under: (CodeHash, PolicyHash),
}

impl Entry {
    /// The code and the policy of the version that it is, or that the refusal is behind: the input
    /// is one for that code.
    pub fn under(&self) -> (CodeHash, PolicyHash) {
        match self {
            Entry::Version(version) => (version.header.code, version.header.policy),
            Entry::Refusal(refusal) => refusal.under,
        }
    }

    /// When it happened, in milliseconds since 1970-01-01 UTC.
    pub fn time(&self) -> u64 {
        match self {
            Entry::Version(version) => version.header.time,
            Entry::Refusal(refusal) => refusal.input.time,
        }
    }
}

impl VersionEntry {
    /// The entry of a commit as stored.
    ///
    /// # Errors
    ///
    /// [`Object`](storage::ErrorKind::Object) when a payload does not decode.
    pub fn decode(stored: &StoredCommit) -> Result<VersionEntry> {
        let decode = |payloads: storage::Payloads<'_>| -> Result<Payloads> {
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
    /// The entry of a refusal as stored, its place among the object's refusals, from 1, and what
    /// the object was then.
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

/// What the object was that refusals behind one version are of.
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

/// A query over an object's history; iterate over it to run it.
#[derive(Debug)]
pub struct History<'a> {
    store: &'a Store,
    object: ObjectId,
    refused: bool,
    backwards: bool,
    since: u64,
    until: u64,
    seqs: Range<u64>,
    limit: usize,
}

impl<'a> History<'a> {
    /// The whole history of `object`, oldest first.
    pub fn new(store: &'a Store, object: ObjectId) -> History<'a> {
        let (refused, backwards) = Default::default();
        let (since, until, seqs, limit) = (0, u64::MAX, 0..u64::MAX, usize::MAX);
        History { store, object, refused, backwards, since, until, seqs, limit }
    }

    /// Refusals only. Oldest first, those that are asked for are held in memory, so narrow them
    /// down.
    pub fn refused(mut self) -> History<'a> {
        self.refused = true;
        self
    }

    /// Versions only, newest first; with [`refused`](History::refused), refusals newest first.
    pub fn backwards(mut self) -> History<'a> {
        self.backwards = true;
        self
    }

    /// From `time` on, in milliseconds since 1970-01-01 UTC. Refusals that stand before the last
    /// version from before `time` are not among them, whatever their times.
    pub fn since(mut self, time: u64) -> History<'a> {
        self.since = time;
        self
    }

    /// Up to and with `time`, in milliseconds since 1970-01-01 UTC. Refusals that stand behind the
    /// first version after `time` are not among them, whatever their times.
    pub fn until(mut self, time: u64) -> History<'a> {
        self.until = time;
        self
    }

    /// The versions whose seqs are in `range`, and the refusals behind them.
    pub fn seqs(mut self, range: Range<u64>) -> History<'a> {
        self.seqs = range;
        self
    }

    /// At most `count` entries.
    pub fn limit(mut self, count: usize) -> History<'a> {
        self.limit = count;
        self
    }

    /// The seqs of the versions in the range of time, from the one before them on, behind which
    /// refusals may be in the range too.
    fn range(&self) -> Result<Range<u64>> {
        let Range { mut start, mut end } = self.seqs.clone();
        if let Some(before) = self.since.checked_sub(1) {
            let last = self.store.seq_as_of(self.object, before)?;
            start = start.max(last.unwrap_or(0));
        }
        if self.until < u64::MAX {
            let last = self.store.seq_as_of(self.object, self.until)?;
            end = end.min(last.map_or(0, |last| last + 1));
        }
        Ok(start..end)
    }

    /// The refusals behind these versions, newest first.
    fn refusals(&self, range: Range<u64>) -> Result<impl Iterator<Item = Result<Entry>> + use<'a>> {
        let mut refusals = self.store.refusals_behind(self.object, range)?;
        let (store, object) = (self.store, self.object);
        let mut behind: Option<Behind> = None;
        Ok(std::iter::from_fn(move || {
            let number = refusals.left();
            let refusal = refusals.next()?;
            let entry = refusal.and_then(|refusal| {
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

    /// The entries.
    ///
    /// # Errors
    ///
    /// When the object is not in the store or a read fails; each entry may fail by itself as well.
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

/// The last entries, no more than `limit`, the last of them first.
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
