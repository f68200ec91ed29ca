//! The comparison of memory and the index with the log's state of a part of the objects.
//!
//! This module does not know how that state was derived.
//!
//! Invariant: each row of the index is examined in one part.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use object::hash::{HASH_BYTES, ObjectId};

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::damaged;
use crate::read::memory::sources;
use crate::read::version::read_commit;
use crate::record::BlobHash;
use crate::record::message::{Dead, MessageId, Sent};
use crate::record::name::NameRow;
use crate::record::retention::Retention;
use crate::rows::heads::Heads;
use crate::rows::index::{Page, Reading};
use crate::rows::row::Row;
use crate::store::Inner;
use crate::upkeep::check::part::Part;
use crate::upkeep::check::report::{FINDINGS_MAX, Report, index_differs};
use crate::upkeep::check::walk::{Kept, name_key};

/// Rows of the index that are compared at a time.
const PAGE: usize = 4096;

/// The rows in memory and in the index.
pub(super) struct Comparison<'a> {
    inner: &'a Inner,
    index: Reading<'a>,
    unwritten: HashMap<ObjectId, Arc<Row>>,
    unwritten_names: BTreeMap<String, NameRow>,
    messages: BTreeMap<MessageId, Sent>,
    unwritten_dead: BTreeMap<MessageId, Option<Dead>>,
    /// Differences in entries that several parts examine; each is reported once.
    differences: BTreeSet<&'static str>,
    /// Blobs that objects need and that were found missing.
    missing: HashSet<BlobHash>,
    /// Tables that cannot be walked.
    closed: BTreeSet<Table>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Objects,
    Wakes,
    Names,
    Blobs,
    DeadLetters,
}

impl<'a> Comparison<'a> {
    /// Takes the content of memory, and the index as it is then.
    pub(super) fn new(inner: &'a Inner, heads: &Heads) -> Result<Comparison<'a>> {
        let (differences, missing, closed) = Default::default();
        Ok(Comparison {
            inner,
            index: inner.index.reading()?,
            unwritten: heads.unwritten(),
            unwritten_names: heads.unwritten_names(""),
            messages: heads.messages().collect(),
            unwritten_dead: heads.unwritten_dead(None, usize::MAX),
            differences,
            missing,
            closed,
        })
    }

    /// The rule of objects without one of their own.
    pub(super) fn retention(&self, heads: &Heads) -> Result<Retention> {
        if let Some(rule) = heads.retention() {
            return Ok(rule);
        }
        match self.index.retention() {
            Err(error) if matches!(error.kind(), ErrorKind::IndexDamaged(_)) => {
                Err(mismatch("the rule of retention"))
            }
            found => found.map(Option::unwrap_or_default),
        }
    }

    /// Compares a part with the log's state of it.
    pub(super) fn part(&mut self, part: Part, kept: Kept, report: &mut Report) {
        let Kept { objects, kept_from, blobs, messages, dead, names, .. } = kept;
        self.objects(&objects, report);
        for (id, from) in &kept_from {
            if let Some(row) = objects.get(id).filter(|row| *from > row.seq())
                && let Err(error) = self.state(*id, row, *from)
            {
                report.find(error.of(*id));
            }
        }
        self.table(Table::Objects, report, |it, report| it.rows(part, &objects, report));
        self.table(Table::Names, report, |it, report| it.names(part, names, report));
        self.table(Table::Blobs, report, |it, report| it.blobs(part, &blobs, report));
        self.needed(&objects, report);
        let here = self.messages.iter().filter(|(id, _)| part.has(&id.to.0));
        if !here.eq(&messages) {
            self.differences.insert("the messages on their way");
        }
        self.table(Table::DeadLetters, report, |it, _| it.dead_letters(part, dead));
    }

    /// Reports the differences found in any of the parts.
    pub(super) fn finish(self, report: &mut Report) {
        for what in self.differences {
            report.find(index_differs(what.to_string()));
        }
    }

    /// Walks a table, unless that failed before.
    fn table(
        &mut self,
        table: Table,
        report: &mut Report,
        walk: impl FnOnce(&mut Self, &mut Report) -> Result<()>,
    ) {
        if self.closed.contains(&table) {
            return;
        }
        if let Err(error) = walk(self, report) {
            self.closed.insert(table);
            report.find(error);
        }
    }

    fn objects(&self, objects: &BTreeMap<ObjectId, Row>, report: &mut Report) {
        for (id, logged) in objects {
            if let (Some(name), true) = (&logged.name, logged.deleted) {
                let found = format!("a deleted object has the name {name:?}");
                report.find(damaged(logged.head().position, "a free name", found).of(*id));
            }
            let row = match self.unwritten.get(id) {
                Some(row) => Ok(Some(Row::clone(row))),
                None => self.index.row(*id),
            };
            match row {
                Ok(Some(row)) if row.indexed() == logged.indexed() => {}
                Ok(_) => report.find(index_differs(format!("the row of {id}"))),
                Err(error) => report.find(error.of(*id)),
            }
        }
    }

    /// Checks that the newest version of an object can be read, though only versions from a later
    /// one on, `kept_from`, were kept.
    fn state(&self, id: ObjectId, row: &Row, kept_from: u64) -> Result<()> {
        let mut row = Cow::Borrowed(row);
        loop {
            let readable = read_commit(&self.inner.log, row.head()).and_then(|stored| {
                stored.require(row.seq())?;
                sources(&self.inner.log, id, &stored)
            });
            match readable {
                Ok(_) => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => {}
                Err(error) => return Err(error),
            }
            // Meanwhile there may be newer versions, for which a compaction let this one go.
            let newest = self.inner.require_row(id)?;
            if newest.head() == row.head() {
                return Err(ErrorKind::NoState { seq: row.seq(), kept_from }.into());
            }
            row = Cow::Owned(Row::clone(&newest));
        }
    }

    /// Walks the index's rows: each is of an object, and has its wake.
    fn rows(
        &mut self,
        part: Part,
        objects: &BTreeMap<ObjectId, Row>,
        report: &mut Report,
    ) -> Result<()> {
        let (mut wanted, mut unknown) = (HashSet::new(), HashSet::new());
        let first = part.before().map(|id| id.0.to_vec());
        pages(
            first,
            |after| self.index.armed_after(after, PAGE),
            |key, row| {
                match part.place(&key) {
                    Ordering::Less => return true,
                    Ordering::Equal => {}
                    Ordering::Greater => return false,
                }
                let Ok(id) = key[..].try_into().map(ObjectId) else {
                    report.find(index_differs("a row without an id".to_string()));
                    return true;
                };
                if !objects.contains_key(&id) {
                    report.find(index_differs(format!("a row of {id}, not in the log")));
                }
                match row {
                    Some((_, wake)) => wanted.extend(wake.map(|wake| (wake, id))),
                    // The comparison has found that the row does not match its check.
                    None => drop(unknown.insert(id)),
                }
                true
            },
        )?;
        self.table(Table::Wakes, report, |it, report| {
            pages(
                None,
                |after| it.index.wakes_after(after, PAGE),
                |key, wake| {
                    let id = key.get(8..).unwrap_or(&[]);
                    if part.has(id) {
                        match wake {
                            Some((_, id)) if unknown.contains(&id) => {}
                            Some((time, id)) if wanted.remove(&(time, id)) => {}
                            Some((_, id)) => {
                                report
                                    .find(index_differs(format!("a wake of {id}, not in the log")));
                            }
                            None => report.find(mismatch("a wake")),
                        }
                    }
                    true
                },
            )?;
            let mut lacking: Vec<_> = wanted.into_iter().collect();
            lacking.sort_unstable_by_key(|(_, id)| *id);
            for (_, id) in lacking {
                report.find(index_differs(format!("no wake of {id}")));
            }
            Ok(())
        });
        Ok(())
    }

    fn names(
        &mut self,
        part: Part,
        mut logged: BTreeMap<String, (NameRow, Position)>,
        report: &mut Report,
    ) -> Result<()> {
        let differs = |name: &str| index_differs(format!("the name {name:?}"));
        for (name, row) in self.unwritten_names.iter().filter(|it| part.has(&name_key(it.0))) {
            if logged.remove(name).is_none_or(|(logged, _)| logged != *row) {
                report.find(differs(name));
            }
        }
        pages(
            None,
            |after| self.index.names_after(after, PAGE),
            |_, named| {
                match named {
                    // Memory is newer.
                    Some((name, _)) if self.unwritten_names.contains_key(&name) => {}
                    Some((name, row)) if part.has(&name_key(&name)) => {
                        let logged = logged.remove(&name);
                        if logged.is_none_or(|(logged, _)| logged != row) {
                            report.find(differs(&name));
                        }
                    }
                    Some(_) => {}
                    // The name of an unreadable row is not known: it is reported with the first
                    // part.
                    None if part.is_first() => report.find(mismatch("a name")),
                    None => {}
                }
                true
            },
        )?;
        logged.keys().for_each(|name| report.find(differs(name)));
        Ok(())
    }

    fn blobs(
        &mut self,
        part: Part,
        logged: &HashMap<BlobHash, Vec<Position>>,
        report: &mut Report,
    ) -> Result<()> {
        let logged: HashMap<[u8; 1 + HASH_BYTES], &Vec<Position>> =
            logged.iter().map(|(hash, positions)| (hash.key(), positions)).collect();
        pages(
            None,
            |after| self.index.blobs_after(after, PAGE),
            |key, position| {
                if !part.has(key.get(1..).unwrap_or(&[])) {
                    return true;
                }
                let positions = key[..].try_into().ok().and_then(|key: [u8; _]| logged.get(&key));
                let is_so = |position| positions.is_some_and(|known| known.contains(position));
                match position {
                    Some(position) if is_so(&position) => {}
                    Some(_) => {
                        let hash = key
                            .last_chunk()
                            .map_or("no hash".to_string(), |hash| ObjectId(*hash).to_string());
                        report.find(index_differs(format!("the place of the blob {hash}")));
                    }
                    None => report.find(mismatch("the place of a blob")),
                }
                true
            },
        )
    }

    /// Every object that the index has needs its blobs there.
    fn needed(&mut self, objects: &BTreeMap<ObjectId, Row>, report: &mut Report) {
        let rows = objects.iter().filter(|(id, _)| !self.unwritten.contains_key(id));
        // Many have the same.
        let needed: BTreeMap<[u8; 1 + HASH_BYTES], BlobHash> = rows
            .flat_map(|(_, row)| {
                [BlobHash::Code(row.code), BlobHash::Policy(row.policy), BlobHash::Base(row.base)]
            })
            .map(|hash| (hash.key(), hash))
            .collect();
        for hash in needed.into_values() {
            match self.index.blob(hash) {
                Ok(Some(_)) => {}
                Ok(None) if self.missing.contains(&hash) => {}
                Ok(None) => {
                    if self.missing.len() < FINDINGS_MAX {
                        self.missing.insert(hash);
                    }
                    report.find(index_differs(format!("no place of {hash:?}")));
                }
                // It was found when the places were walked.
                Err(error) if matches!(error.kind(), ErrorKind::IndexDamaged(_)) => {}
                Err(error) => report.find(error),
            }
        }
    }

    fn dead_letters(&mut self, part: Part, mut logged: BTreeMap<MessageId, Dead>) -> Result<()> {
        let mut is_so = true;
        let first = |to| MessageId { to, position: Position(u64::MAX), number: u32::MAX };
        let mut last = part.before().map(first);
        loop {
            let page = self.index.dead_letters(last, PAGE)?;
            let Some(end) = page.last_key_value().map(|(id, _)| *id) else { break };
            last = Some(end);
            for (id, dead) in page.into_iter().take_while(|(id, _)| part.has(&id.to.0)) {
                // Memory is newer.
                if !self.unwritten_dead.contains_key(&id) {
                    is_so &= logged.remove(&id) == Some(dead);
                }
            }
            if !part.has(&end.to.0) {
                break;
            }
        }
        for (id, dead) in self.unwritten_dead.iter().filter(|(id, _)| part.has(&id.to.0)) {
            is_so &= logged.remove(id) == *dead;
        }
        if !is_so || !logged.is_empty() {
            self.differences.insert("the dead letters");
        }
        Ok(())
    }
}

/// Reads the rows of a table behind a key, until `each` returns that it wants no more.
fn pages<T>(
    mut after: Option<Vec<u8>>,
    read: impl Fn(Option<&[u8]>) -> Result<Page<T>>,
    mut each: impl FnMut(Vec<u8>, Option<T>) -> bool,
) -> Result<()> {
    loop {
        let page = read(after.as_deref())?;
        let Some((end, _)) = page.last() else { return Ok(()) };
        after = Some(end.clone());
        for (key, row) in page {
            if !each(key, row) {
                return Ok(());
            }
        }
    }
}

fn mismatch(what: &str) -> Error {
    ErrorKind::IndexDamaged(format!("{what} does not match its check")).into()
}
