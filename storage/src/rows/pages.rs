//! The places of the pages of an object's memory in the log: the version that wrote each last, and
//! the runs of each that changed since it was written whole.
//!
//! A version's record has its own pages: whole, or as the runs in which they differ from the last
//! record that has them whole, or from the base image while there is none. So a page is at most two
//! records away. A page is written whole once its runs have cost as much. After at most `PLAIN_MAX`
//! versions without one, a record also has a table of all the other pages, so finding every page
//! takes few versions however long the history is. This module does not read the log.
//!
//! Invariant: `full`, `newer` and `since` are ascending by page; a page in `newer` is newer than in
//! `full`; an entry of `since` is correct, and a page without one is unknown.

use std::sync::Arc;

use object::limits::PAGE_BYTES;
use object::memory::Page;

use crate::error::position::Position;
use crate::record::page::{PageChange, Written};
use crate::record::runs;
use crate::record::runs::Run;

/// Versions without a table between two that have one.
const PLAIN_MAX: u32 = 64;
/// The number of pages for each version that goes without a table: a table costs at most 192 bytes
/// a version, or, in a memory of more than 1,024 changed pages, 0.05 of each page's bytes.
const PAGES_PER_PLAIN: usize = 16;
/// The number of pages whose changes since they were written whole are remembered.
const SINCE_MAX: usize = 256;
/// Pages of a table that is checked wholly.
const CHECKED_PAGES_MAX: usize = 1024;

/// The pages that an object ever changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageTable {
    /// The last table in a record.
    full: Arc<Vec<(u32, Position)>>,
    /// Pages written by that record and those since.
    newer: Vec<(u32, Position)>,
    /// Records since that one, without a table.
    plain: u32,
    since: Vec<(u32, Since)>,
}

/// The changes of a page since it was written whole.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Since {
    whole: Position,
    runs: Arc<[Run]>,
    /// The bytes that records of its runs have cost.
    spent: usize,
}

impl PageTable {
    /// Assembles a table from the one in a record, `plain` versions back, and the pages that the
    /// versions since wrote, newest versions first.
    pub(crate) fn assemble(
        full: Vec<(u32, Position)>,
        newest_first: impl IntoIterator<Item = (PageChange, Position)>,
        plain: u32,
    ) -> PageTable {
        let mut changes: Vec<(PageChange, Position)> = newest_first.into_iter().collect();
        // The sort is stable: of each page the newest comes first.
        changes.sort_by_key(|(change, _)| change.page);
        changes.dedup_by_key(|(change, _)| change.page);
        let newer = changes.iter().map(|(change, at)| (change.page, *at)).collect();
        let known = changes.into_iter().take(SINCE_MAX);
        let since = known.map(|(change, at)| (change.page, Since::new(&change.written, at, 0)));
        PageTable { full: Arc::new(full), newer, plain, since: since.collect() }
    }

    /// Asserts what always holds: of few pages all of it, of many what is cheap to see.
    pub(crate) fn check_invariants(&self) {
        fn is_ascending<T>(pages: &[(u32, T)]) -> bool {
            pages.is_sorted_by(|one, next| one.0 < next.0)
        }
        assert!(self.plain <= READS_MAX, "a table comes every so many versions");
        assert!(self.since.len() <= SINCE_MAX, "of few pages it is known how they were written");
        assert!(is_ascending(&self.since), "what is known of pages is ascending");
        for (_, since) in &self.since {
            let is_apart = |one: &Run, next: &Run| one.end() < usize::from(next.start);
            assert!(since.runs.is_sorted_by(is_apart), "runs ascend, apart from each other");
            let end = since.runs.last().map_or(0, |run| run.end());
            assert!(end <= PAGE_BYTES, "runs are in their page");
        }
        if self.count() > CHECKED_PAGES_MAX {
            return;
        }
        assert!(is_ascending(&self.full), "the pages of the table are ascending");
        assert!(is_ascending(&self.newer), "the pages written since are ascending");
        let is_written = |(page, _): &(u32, Since)| !self.is_untouched(*page);
        assert!(
            self.since.iter().all(is_written),
            "only of pages that were written it is known how"
        );
    }

    /// Bytes that the table takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let since = self.since.iter().map(|(_, since)| size_of_val(&since.runs[..]));
        let placed = size_of_val(&self.full[..]) + size_of_val(&self.newer[..]);
        placed + size_of_val(&self.since[..]) + since.sum::<usize>()
    }

    /// Returns an upper bound of the number of pages.
    pub(crate) fn count(&self) -> usize {
        self.full.len() + self.newer.len()
    }

    /// All pages, ascending, each with the version that wrote it last.
    pub(crate) fn entries(&self) -> Vec<(u32, Position)> {
        self.entries_but(&[])
    }

    /// Returns all pages except those of `changes`.
    fn entries_but(&self, changes: &[PageChange]) -> Vec<(u32, Position)> {
        let mut all = Vec::with_capacity(self.count().saturating_sub(changes.len()));
        let mut add = |entry: (u32, Position)| {
            if !has(changes, entry.0) {
                all.push(entry);
            }
        };
        let mut newer = self.newer.iter().copied().peekable();
        for &(page, position) in self.full.iter() {
            while let Some(entry) = newer.next_if(|entry| entry.0 < page) {
                add(entry);
            }
            add(newer.next_if(|entry| entry.0 == page).unwrap_or((page, position)));
        }
        newer.for_each(add);
        debug_assert!(all.is_sorted_by(|one, next| one.0 < next.0), "pages are ascending");
        all
    }

    /// Plans how a version writes `pages`, ascending, each of which was as `before` returns it;
    /// whole when that is unknown.
    pub(crate) fn plan<'b>(
        &self,
        pages: &[(u32, &Page)],
        before: impl Fn(u32) -> Option<&'b Page>,
    ) -> Vec<PageChange> {
        let change = |&(page, after): &(u32, &Page)| {
            let runs = self.since(page).zip(before(page)).and_then(|(since, before)| {
                let changed = runs::changed(before, after);
                let runs = match runs::covers(&since.runs, &changed) {
                    true => since.runs,
                    false => runs::union(&since.runs, &changed).into(),
                };
                let affordable = since.spent + runs::cost(&runs) <= PAGE_BYTES;
                affordable.then_some(Written::Runs { whole: since.whole, runs })
            });
            PageChange { page, written: runs.unwrap_or(Written::Whole) }
        };
        let planned: Vec<PageChange> = pages.iter().map(change).collect();
        debug_assert!(self.is_followed_by(&planned), "a plan builds on what is known");
        planned
    }

    /// Returns whether a record's `changes` build on the known state of their pages.
    pub(crate) fn is_followed_by(&self, changes: &[PageChange]) -> bool {
        changes.iter().all(|change| match (&change.written, self.since(change.page)) {
            (Written::Runs { whole, runs }, Some(since)) => {
                *whole == since.whole && runs::covers(runs, &since.runs)
            }
            (Written::Whole, _) | (_, None) => true,
        })
    }

    /// Returns the changes of a page since it was written whole, when they are known.
    fn since(&self, page: u32) -> Option<Since> {
        if let Ok(at) = self.since.binary_search_by_key(&page, |entry| entry.0) {
            return Some(self.since[at].1.clone());
        }
        let untouched = || Since { whole: Position::NONE, runs: Arc::default(), spent: 0 };
        self.is_untouched(page).then(untouched)
    }

    /// Returns whether a page is as in the base image.
    pub(crate) fn is_untouched(&self, page: u32) -> bool {
        let written = [&self.full[..], &self.newer[..]];
        written.iter().all(|pages| pages.binary_search_by_key(&page, |entry| entry.0).is_err())
    }

    /// Takes in a version that makes `changes`, ascending, at `at`; returns the table for its
    /// record, when one is due.
    pub(crate) fn advance(
        &mut self,
        changes: &[PageChange],
        at: Position,
    ) -> Option<Vec<(u32, Position)>> {
        let is_ascending = changes.is_sorted_by(|one, next| one.page < next.page);
        assert!(is_ascending, "each page comes once, in ascending order");
        self.learn(changes, at);
        let own = changes.iter().map(|change| (change.page, at));
        let plain_max =
            u32::try_from(self.count() / PAGES_PER_PLAIN).unwrap_or(PLAIN_MAX).min(PLAIN_MAX);
        if self.plain >= plain_max {
            let table = self.entries_but(changes);
            if !(table.is_empty() && self.full.is_empty()) {
                self.full = Arc::new(table.clone());
            }
            self.newer.clear();
            self.newer.extend(own);
            self.plain = 0;
            debug_assert!(table.iter().all(|(page, _)| !has(changes, *page)), "its own are newer");
            if cfg!(debug_assertions) {
                self.check_invariants();
            }
            return Some(table);
        }
        self.newer.retain(|(page, _)| !has(changes, *page));
        self.newer.extend(own);
        self.newer.sort_unstable_by_key(|(page, _)| *page);
        self.plain += 1;
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        None
    }

    /// Remembers how pages were written; when they are too many, of the newest only.
    fn learn(&mut self, changes: &[PageChange], at: Position) {
        let known = |page| self.since.binary_search_by_key(&page, |entry| entry.0);
        if changes.iter().all(|change| known(change.page).is_ok()) {
            for change in changes {
                let known = self.since.binary_search_by_key(&change.page, |entry| entry.0);
                let since = &mut self.since[known.expect("it was just found")].1;
                *since = Since::new(&change.written, at, since.spent);
            }
            return;
        }
        let learned: Vec<(u32, Since)> = changes
            .iter()
            .take(SINCE_MAX)
            .map(|change| {
                let spent = self.since(change.page).map_or(0, |since| since.spent);
                (change.page, Since::new(&change.written, at, spent))
            })
            .collect();
        self.since.retain(|(page, _)| !has(changes, *page));
        if self.since.len() + learned.len() > SINCE_MAX {
            self.since.clear();
        }
        self.since.extend(learned);
        assert!(self.since.len() <= SINCE_MAX, "what is known stays within its limit");
        self.since.sort_unstable_by_key(|(page, _)| *page);
    }

    /// Puts the frame's position where [`Position::HERE`] stands.
    pub(crate) fn settle(&mut self, frame: Position) {
        assert!(frame != Position::HERE, "a frame has its place");
        self.newer.iter_mut().for_each(|entry| entry.1 = entry.1.within(frame));
        self.since.iter_mut().for_each(|(_, since)| since.whole = since.whole.within(frame));
        // A table that was made for this frame is not shared yet; no other one says "here".
        if let Some(full) = Arc::get_mut(&mut self.full) {
            full.iter_mut().for_each(|entry| entry.1 = entry.1.within(frame));
        }
    }
}

/// Returns whether a page is among `changes`, which are ascending.
fn has(changes: &[PageChange], page: u32) -> bool {
    changes.binary_search_by_key(&page, |change| change.page).is_ok()
}

impl Since {
    /// Returns the changes of a page after it was written at `at`, when its runs had cost `spent`
    /// before.
    fn new(written: &Written, at: Position, spent: usize) -> Since {
        match written {
            Written::Whole => Since { whole: at, runs: Arc::default(), spent: 0 },
            Written::Runs { whole, runs } => {
                let spent = spent + runs::cost(runs);
                Since { whole: *whole, runs: Arc::clone(runs), spent }
            }
        }
    }
}

/// The most versions that one reads to find every page of one.
pub(crate) const READS_MAX: u32 = PLAIN_MAX + 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Draws some pages, each written in one of the ways that fit its known state.
    fn changes(rng: &mut StdRng, table: &PageTable) -> Vec<PageChange> {
        let spread = rng.random_range(1..2000);
        let count = rng.random_range(0..20);
        let mut pages: Vec<u32> = (0..count).map(|_| rng.random_range(0..spread)).collect();
        pages.sort_unstable();
        pages.dedup();
        let change = |page| {
            let since = table.since(page).filter(|_| rng.random_bool(0.8));
            let written = since.map_or(Written::Whole, |since| {
                let start = rng.random_range(0..PAGE_BYTES as u16 - 8);
                let runs = runs::union(&since.runs, &[Run { start, length: 8 }]).into();
                Written::Runs { whole: since.whole, runs }
            });
            PageChange { page, written }
        };
        pages.into_iter().map(change).collect()
    }

    #[test]
    fn a_table_is_a_map_from_each_page_to_its_last_version() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut model = BTreeMap::new();
            let mut table = PageTable::default();
            let (mut last_full, mut since, mut plain) = (Vec::new(), Vec::new(), 0);
            for version in 1..200 {
                let at = Position(version);
                let changes = changes(&mut rng, &table);
                assert!(table.is_followed_by(&changes));
                match table.advance(&changes, at) {
                    Some(full) => (last_full, since, plain) = (full, Vec::new(), 0),
                    None => plain += 1,
                }
                let written = changes.iter().map(|change| (change.clone(), at));
                since.splice(0..0, written);
                model.extend(changes.iter().map(|change| (change.page, at)));
                let expected: Vec<_> = model.clone().into_iter().collect();
                assert_eq!(table.entries(), expected, "seed {seed}");
                assert!(plain < READS_MAX);
                let read = PageTable::assemble(last_full.clone(), since.clone(), plain);
                let placed = |table: &PageTable| (table.full.clone(), table.newer.clone());
                assert_eq!(placed(&read), placed(&table), "seed {seed}: records say what is kept");
                assert_eq!(read.plain, table.plain, "seed {seed}");
                for (page, known) in &read.since {
                    let kept = table.since(*page).filter(|kept| kept.spent > 0);
                    if let Some(kept) = kept {
                        assert_eq!((kept.whole, &kept.runs), (known.whole, &known.runs));
                    }
                }
            }
        }
    }
}
