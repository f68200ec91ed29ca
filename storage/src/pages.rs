//! Where the pages of an object's memory are in the log: which version wrote each last.
//!
//! A version's record has its own pages. Every so many versions it also has a table of all the
//! others, so the versions that one reads to find every page are few however long the history is.
//! It does not read the log.
//!
//! Invariant: `full` and `newer` are ascending by page; a page in `newer` is newer than in `full`.

use std::sync::Arc;

use crate::log::Position;

/// Versions without a table between two that have one.
const PLAIN_MAX: u32 = 64;
/// Pages for each version that goes without: a table costs at most 192 bytes a version, or, in a
/// memory of more than 1,024 changed pages, 0.05 of each page's bytes.
const PAGES_PER_PLAIN: usize = 16;

/// The pages that an object ever changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageTable {
    /// What the last table in a record says.
    full: Arc<Vec<(u32, Position)>>,
    /// Pages written by that record and those since.
    newer: Vec<(u32, Position)>,
    /// Records since that one, without a table.
    plain: u32,
}

impl PageTable {
    /// The table as a record has it, that of the version before `plain` others, and the pages that
    /// these versions wrote, newest versions first.
    pub(crate) fn assemble(
        full: Vec<(u32, Position)>,
        newest_first: impl IntoIterator<Item = (u32, Position)>,
        plain: u32,
    ) -> PageTable {
        let mut newer: Vec<(u32, Position)> = newest_first.into_iter().collect();
        // The sort is stable: of each page the newest comes first.
        newer.sort_by_key(|(page, _)| *page);
        newer.dedup_by_key(|(page, _)| *page);
        PageTable { full: Arc::new(full), newer, plain }
    }

    /// How many pages there are at most.
    pub(crate) fn count(&self) -> usize {
        self.full.len() + self.newer.len()
    }

    /// All pages, ascending, each with the version that wrote it last.
    pub(crate) fn entries(&self) -> Vec<(u32, Position)> {
        let mut all = Vec::with_capacity(self.full.len() + self.newer.len());
        let mut newer = self.newer.iter().peekable();
        for &(page, position) in self.full.iter() {
            while let Some(entry) = newer.next_if(|entry| entry.0 < page) {
                all.push(*entry);
            }
            match newer.next_if(|entry| entry.0 == page) {
                Some(entry) => all.push(*entry),
                None => all.push((page, position)),
            }
        }
        all.extend(newer);
        all
    }

    /// Takes in a version that writes `pages`, ascending, at `at`; gives the table that its record
    /// has, when it is time for one.
    pub(crate) fn advance(&mut self, pages: &[u32], at: Position) -> Option<Vec<(u32, Position)>> {
        assert!(pages.is_sorted(), "pages come in ascending order");
        let own = pages.iter().map(|&page| (page, at));
        let plain_max =
            u32::try_from(self.count() / PAGES_PER_PLAIN).unwrap_or(PLAIN_MAX).min(PLAIN_MAX);
        if self.plain >= plain_max {
            let mut table = self.entries();
            table.retain(|(page, _)| pages.binary_search(page).is_err());
            let full = Arc::new(table.clone());
            *self = PageTable { full, newer: own.collect(), plain: 0 };
            return Some(table);
        }
        let mut kept = std::mem::take(&mut self.newer);
        kept.retain(|(page, _)| pages.binary_search(page).is_err());
        kept.extend(own);
        kept.sort_unstable_by_key(|(page, _)| *page);
        self.newer = kept;
        self.plain += 1;
        None
    }

    /// Puts the frame's position where [`Position::HERE`] stands.
    pub(crate) fn settle(&mut self, frame: Position) {
        self.newer.iter_mut().for_each(|entry| entry.1 = entry.1.within(frame));
        // A table that was made for this frame is not shared yet; no other one says "here".
        if let Some(full) = Arc::get_mut(&mut self.full) {
            full.iter_mut().for_each(|entry| entry.1 = entry.1.within(frame));
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

    #[test]
    fn a_table_is_a_map_from_each_page_to_its_last_version() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut model = BTreeMap::new();
            let mut table = PageTable::default();
            let (mut last_full, mut since, mut plain) = (Vec::new(), Vec::new(), 0);
            for version in 1..200 {
                let at = Position(version);
                let spread = rng.random_range(1..2000);
                let count = rng.random_range(0..20);
                let mut pages: Vec<u32> = (0..count).map(|_| rng.random_range(0..spread)).collect();
                pages.sort_unstable();
                pages.dedup();
                match table.advance(&pages, at) {
                    Some(full) => (last_full, since, plain) = (full, Vec::new(), 0),
                    None => plain += 1,
                }
                since.splice(0..0, pages.iter().map(|&page| (page, at)));
                model.extend(pages.iter().map(|&page| (page, at)));
                let expected: Vec<_> = model.clone().into_iter().collect();
                assert_eq!(table.entries(), expected, "seed {seed}");
                assert!(plain < READS_MAX);
                let read = PageTable::assemble(last_full.clone(), since.clone(), plain);
                assert_eq!(read, table, "seed {seed}: what records say is what is kept");
            }
        }
    }
}
