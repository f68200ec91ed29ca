//! The evidence tree of the log, made anew leaf by leaf, and compared with the one in memory and in
//! the index.
//!
//! This module does not know records.
//!
//! Invariant: every row of a whole subtree is compared, and so is what the tree has beside them.

use object::evidence::{Leaf, TILE_HEIGHT, TreeHead};

use crate::error::position::Position;
use crate::error::{Error, Result};
use crate::rows::evidence::{Evidence, Place, SubtreeKey, SubtreeRow, SubtreeRows, Tree};
use crate::rows::index::Reading;
use crate::upkeep::check::report::{Report, index_differs};

/// Rows of the index that are read at a time.
const PAGE: usize = 4096;

/// The tree as far as the log was read, and the known one.
pub(super) struct Leaves<'a> {
    tree: Tree,
    last: Place,
    /// Subtrees that became whole with the last leaf.
    whole: SubtreeRows,
    known: Tree,
    index: Reading<'a>,
    unwritten: SubtreeRows,
    /// The first subtree that differs, or what kept the comparison from reading on.
    difference: Option<Error>,
}

impl<'a> Leaves<'a> {
    /// Takes the content of memory, and the index as it is then.
    pub(super) fn new(index: Reading<'a>, known: &Evidence) -> Leaves<'a> {
        let (tree, whole, difference) = Default::default();
        let last = Place { frame: Position::NONE, ordinal: 0 };
        let (known, unwritten) = (known.tree().clone(), known.rows());
        Leaves { tree, last, whole, known, index, unwritten, difference }
    }

    /// Adds the next leaf of the log, whose record is in the frame at `frame`.
    pub(super) fn push(&mut self, frame: Position, leaf: Leaf) {
        self.last = self.last.next(frame);
        self.tree.extend(self.last, &[leaf.hash()], &mut self.whole);
        while let Some((key, row)) = self.whole.pop_first() {
            if self.difference.is_none() {
                self.difference = self.compare(key, row).err();
            }
        }
    }

    fn compare(&self, key: SubtreeKey, logged: SubtreeRow) -> Result<()> {
        let found = match self.unwritten.get(&key) {
            Some(row) => Some(*row),
            None => self.index.subtree(key)?,
        };
        match found == Some(logged) {
            true => Ok(()),
            false => {
                let (level, index) = key;
                Err(index_differs(format!("subtree {level}/{index} of the evidence tree")))
            }
        }
    }

    /// Reports what differs, and the tree that the log makes.
    pub(super) fn finish(self, report: &mut Report) {
        let size = self.tree.frontier.size();
        if self.tree != self.known {
            let TreeHead { size: known, root } = self.known.frontier.head();
            let tree = format!("the evidence tree of {known} leaves and root {root}");
            report.find(index_differs(tree));
        }
        match self.has_more(size) {
            Ok(true) => report.find(index_differs("more of the evidence tree".to_string())),
            Ok(false) => {}
            Err(error) => report.find(error),
        }
        self.difference.into_iter().for_each(|error| report.find(error));
        report.evidence = Some(self.tree.frontier.head());
    }

    /// Returns whether the index has a subtree that a tree of `size` leaves has not.
    fn has_more(&self, size: u64) -> Result<bool> {
        let mut after = None;
        loop {
            let page = self.index.subtrees_after(after.as_deref(), PAGE)?;
            let Some((end, _)) = page.last() else { return Ok(false) };
            after = Some(end.clone());
            for (_, key) in page {
                let is_in = key.is_some_and(|(level, index)| {
                    let count = size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0);
                    level > 0 && index < count
                });
                if !is_in {
                    return Ok(true);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use object::evidence::{Frontier, TILE_WIDTH, TreeHash};
    use object::time::Time;
    use tempfile::TempDir;

    use super::*;
    use crate::error::loss::Loss;
    use crate::options::Options;
    use crate::record::Body;
    use crate::record::event::Event;
    use crate::record::loss::RecordedLoss;
    use crate::rows::evidence::Sealed;
    use crate::rows::heads::Generation;

    /// A database with more leaves than a tile has.
    fn database() -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let store = Options::new().open(path).expect("it opens");
        let (expected, found) = (Position::new(1, 500), Position::new(1, 96));
        let counts = (0, 0, 0, 0);
        let (object_count, gone_count, version_count, refusal_count) = counts;
        for number in 0..TILE_WIDTH + 10 {
            let check = [number as u8; 32];
            let loss = Loss {
                expected,
                check,
                found,
                object_count,
                gone_count,
                version_count,
                refusal_count,
                is_counted: true,
            };
            let loss = RecordedLoss { loss, time: Time::MIN, position: Position::NONE };
            let mut body = Body::default();
            body.event(&Event::Loss(loss));
            let pushed = store.inner().log.push(&body.0, blake3::hash(&body.0), Box::new(drop));
            pushed.map_err(|(error, _)| error).expect("it is appended").commit().expect("durable");
        }
        drop(store);
        // The frames were pushed to the log alone.
        std::fs::remove_file(path.join("index.redb")).expect("the index is gone");
        let store = Options::new().open(path).expect("it opens");
        assert_eq!(store.evidence().size, TILE_WIDTH + 10);
        drop(store);
        directory
    }

    fn findings(path: &Path) -> Vec<String> {
        let store = Options::new().open(path).expect("it opens");
        let report = store.check(|_, _| {}).expect("it is checked");
        let head = report.evidence.expect("the log can be read");
        assert_eq!(head.size, TILE_WIDTH + 10);
        report.damage.iter().map(ToString::to_string).collect()
    }

    type Damage = (&'static str, fn(Tree, SubtreeRow) -> Sealed);

    fn with_row(tree: Tree, key: SubtreeKey, row: SubtreeRow) -> Sealed {
        Sealed { tree, rows: [(key, row)].into() }
    }

    const DAMAGES: [Damage; 6] = [
        ("the evidence tree of 265 leaves", |tree, _| {
            let (size, peaks) = (tree.frontier.size() - 1, tree.frontier.peaks());
            // 266 is 256 + 8 + 2, 265 is 256 + 8 + 1.
            let frontier = Frontier::of(size, peaks).expect("as many bits");
            Sealed { tree: Tree { frontier, ..tree }, ..Sealed::default() }
        }),
        ("the evidence tree of 266 leaves", |tree, _| {
            let other = Place { frame: Position::new(1, 96), ordinal: 0 };
            Sealed { tree: Tree { open: Some(other), ..tree }, ..Sealed::default() }
        }),
        ("subtree 1/0 of the evidence tree", |tree, row| {
            with_row(tree, (1, 0), SubtreeRow { hash: TreeHash([7; 32]), ..row })
        }),
        ("subtree 1/0 of the evidence tree", |tree, row| {
            let first = row.first.map(|first| Place { ordinal: first.ordinal + 1, ..first });
            with_row(tree, (1, 0), SubtreeRow { first, ..row })
        }),
        ("more of the evidence tree", |tree, row| with_row(tree, (1, 1), row)),
        ("more of the evidence tree", |tree, row| {
            with_row(tree, (2, 0), SubtreeRow { first: None, ..row })
        }),
    ];

    #[test]
    fn a_tree_that_is_not_the_log_s_is_found_and_made_anew() {
        let directory = database();
        let path = directory.path();
        assert_eq!(findings(path), Vec::<String>::new());
        for (expected, damage) in DAMAGES {
            let store = Options::new().open(path).expect("it opens");
            let (inner, index) = (store.inner(), store.inner().index.reading().expect("an index"));
            let tree = index.tree().expect("a tree");
            let row = index.required_subtree((1, 0)).expect("a whole tile");
            drop(index);
            let (nothing, sealed) = (Generation::default(), damage(tree, row));
            let written = inner.index.write(&nothing, inner.log.tail(), Some(&sealed));
            written.expect("it is written");
            drop(store);
            let found = findings(path);
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].contains(expected), "{expected}: {found:?}");
            Options::new().rebuild_index(path).expect("it is made anew");
            assert_eq!(findings(path), Vec::<String>::new());
        }
    }
}
