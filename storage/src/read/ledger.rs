//! Reads of a version's ledger: from the record that has its last part to those of its bases.
//!
//! This module does not know how a version is found, nor how frames are kept.

use std::sync::Arc;

use object::hash::{LedgerHash, ObjectId};
use object::header::Header;
use object::ledger::Ledger;

use crate::error::Result;
use crate::error::position::Position;
use crate::log::frame::{Frames, damaged, placed};
use crate::read::version::{StoredCommit, commits};
use crate::record::version::LedgerPart;
use crate::rows::ledgers::{Ledgers, PARTS_MAX, is_small};
use crate::rows::row::Row;
use crate::store::Inner;

impl Inner {
    /// The ledger of a version, whose last part is at `position`, with its bases.
    pub(crate) fn ledgers(
        &self,
        id: ObjectId,
        stored: &StoredCommit,
        position: Position,
    ) -> Result<Ledgers> {
        let parts = parts(&self.log, id, Newest::Stored(stored), position)?;
        assembled(&parts, stored.header().ledger, position)
    }

    /// Returns the part of a ledger that the next version's record has, behind the one of the row.
    pub(crate) fn write_ledger(
        &self,
        id: ObjectId,
        row: &mut Row,
        header: &Header,
        ledger: &Arc<Ledger>,
    ) -> Result<LedgerPart<Vec<u8>>> {
        let is_written = ![Position::NONE, Position::HERE].contains(&row.ledger);
        if row.ledgers.is_none() && is_written && !is_small(ledger) {
            let parts = parts(&self.log, id, Newest::Seq(row.seq()), row.ledger)?;
            let expected = parts[0].header().ledger;
            row.ledgers = Some(assembled(&parts, expected, row.ledger)?);
        }
        Ok(row.write_ledger(header.seq, ledger))
    }
}

/// The version whose ledger is read.
#[derive(Clone, Copy)]
pub(crate) enum Newest<'a> {
    Stored(&'a StoredCommit),
    /// Only its seq is known.
    Seq(u64),
}

/// Returns the versions whose records have the parts of a ledger, the whole one last; none for an
/// empty one. The record at `position` has the last part.
pub(crate) fn parts(
    frames: &impl Frames,
    id: ObjectId,
    newest: Newest<'_>,
    position: Position,
) -> Result<Vec<StoredCommit>> {
    let mut parts = Vec::new();
    if position == Position::NONE {
        return Ok(parts);
    }
    let newest_seq = match newest {
        Newest::Stored(stored) => stored.header().seq,
        Newest::Seq(seq) => seq,
    };
    let (mut at, mut until, mut exact) = (position, newest_seq, false);
    loop {
        if parts.len() == PARTS_MAX {
            let expected = format!("a whole ledger, at most {PARTS_MAX} records back");
            return Err(damaged(at, expected, "changes of one"));
        }
        let frame = match newest {
            Newest::Stored(stored) => stored.frame_at(frames, at)?,
            Newest::Seq(_) => frames.frame(at)?,
        };
        let mut found = None;
        for commit in commits(&frame) {
            let commit = commit?;
            let seq = commit.header().seq;
            if commit.is_of(id) && seq <= until && (seq == until || !exact) {
                commit.require(newest_seq)?;
                found = Some(commit).filter(|commit| commit.ledger().is_some()).or(found);
            }
        }
        let found = found.ok_or_else(|| damaged(at, format!("a ledger of {id}"), "none"))?;
        let base = found.ledger().and_then(|part| part.over);
        parts.push(found);
        let Some((seq, position)) = base else { return Ok(parts) };
        (at, until, exact) = (position, seq, true);
    }
}

/// Puts the ledger of this hash together from the records that have its parts, the whole one last.
fn assembled(parts: &[StoredCommit], expected: LedgerHash, position: Position) -> Result<Ledgers> {
    let mut ledgers = Ledgers::default();
    for commit in parts.iter().rev() {
        let part = commit.ledger().expect("it was looked for");
        let read = ledgers.read(commit.header().seq, &part, commit.position());
        let read = read.expect("the ledger that it is over was read before");
        read.map_err(|error| placed(error, commit.position()))?;
    }
    if ledgers.newest().hash() != expected {
        return Err(damaged(position, "the ledger of the version", "another"));
    }
    Ok(ledgers)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object::commit::Commit;
    use object::credential::PublicKey;
    use object::hash::VersionHash;
    use object::header::Kind;
    use object::ledger::{Tracked, Used};
    use object::time::Time;

    use super::*;
    use crate::log::frame::Frame;
    use crate::record::Body;
    use crate::record::version::{Notes, Staged};

    const ID: ObjectId = ObjectId([3; 32]);

    /// Frames in memory.
    #[derive(Default)]
    struct Shelf(BTreeMap<Position, Frame>);

    impl Frames for Shelf {
        fn frame(&self, position: Position) -> Result<Frame> {
            let frame = self.0.get(&position).cloned();
            frame.ok_or_else(|| damaged(position, "a frame", "none"))
        }

        fn glimpse(&self, position: Position) -> Result<Frame> {
            self.frame(position)
        }
    }

    fn at(seq: u64) -> Position {
        Position::new(1, seq as u32 * 100)
    }

    /// A ledger that as many keys have signed.
    fn ledger(keys: u8) -> Ledger {
        let mut ledger = Ledger::default();
        for key in 1..=keys {
            let used = Used { nonce: u64::from(key), expires: Time::from_millis(50) };
            ledger.nonces.record(
                &[PublicKey([key; 32])],
                used,
                Time::from_millis(9),
                Tracked::NONE,
            );
        }
        ledger
    }

    impl Shelf {
        /// Puts a version with a part, whose header names a ledger, in a frame of its own.
        fn put(&mut self, seq: u64, ledger: &Ledger, part: Option<&LedgerPart<Vec<u8>>>) {
            let here = part.is_some();
            let header = header(seq, ledger);
            let notes = Notes {
                parent: at(seq - 1),
                jump: at(0),
                genesis: at(0),
                refusal: Position::NONE,
                ledger: if here { Position::HERE } else { at(seq - 1) },
                globals: Position::NONE,
                table: None,
                base: None,
                secret: None,
            };
            let pages = Vec::new();
            let (input, effects, admission) = (&b"i"[..], &b"e"[..], &b"a"[..]);
            let commit = Commit { header, input, effects, admission, globals: None, pages };
            let mut body = Body::default();
            body.version(Staged::No, &notes, part, &commit, &[]);
            let (position, check, group) = (at(seq), [0; 32], at(seq));
            self.0.insert(position, Frame { position, check, group, body: body.0.into() });
        }

        fn read(&self, seq: u64) -> Result<Arc<Ledger>> {
            let commit = commits(&self.frame(at(seq))?).next().expect("a version")?;
            let parts = parts(self, ID, Newest::Stored(&commit), commit.notes().ledger)?;
            assembled(&parts, commit.header().ledger, at(seq)).map(|ledgers| ledgers.newest())
        }
    }

    fn header(seq: u64, ledger: &Ledger) -> Header {
        let (memory_root, globals, code, schema, policy) = Default::default();
        let (input, effects, admission) = Default::default();
        Header {
            kind: Kind::Call,
            instrumentation: 2,
            seq,
            time: Time::MIN,
            wake: None,
            fuel: 0,
            memory_bytes: 0,
            refusal_count: 0,
            page_count: 0,
            object: Some(ID),
            parent: Some(VersionHash::default()),
            jump: Some(VersionHash::default()),
            memory_root,
            globals,
            code,
            schema,
            policy,
            input,
            effects,
            admission,
            ledger: ledger.hash(),
            refusals: None,
        }
    }

    fn part(over: Option<(u64, Position)>, base: u8, keys: u8) -> LedgerPart<Vec<u8>> {
        LedgerPart { over, changes: ledger(keys).changes(&ledger(base)) }
    }

    #[test]
    fn parts_that_do_not_lead_to_the_ledger_are_damage() {
        let mut shelf = Shelf::default();
        shelf.put(1, &ledger(5), Some(&part(None, 0, 5)));
        shelf.put(2, &ledger(6), Some(&part(Some((1, at(1))), 5, 6)));
        assert_eq!(*shelf.read(2).expect("it is read"), ledger(6));
        shelf.put(3, &ledger(6), None);
        for (what, over, base, keys, expected) in [
            ("of another version", Some((1, at(2))), 6, 7, "a ledger of"),
            ("of a version without one", Some((3, at(3))), 6, 7, "a ledger of"),
            ("of no version", Some((2, at(9))), 6, 7, "a frame"),
            ("since a later ledger", Some((1, at(1))), 6, 7, "the ledger of the version"),
            ("of an entry that is not there", Some((1, at(1))), 9, 7, "records of an object"),
            ("of a whole ledger", None, 6, 7, "the ledger of the version"),
            ("of another ledger", Some((2, at(2))), 6, 8, "the ledger of the version"),
            ("the right ones", Some((2, at(2))), 6, 7, ""),
            ("the right ones, whole", None, 0, 7, ""),
        ] {
            shelf.put(4, &ledger(7), Some(&part(over, base, keys)));
            match shelf.read(4) {
                Ok(found) => assert_eq!((&*found, expected), (&ledger(7), ""), "{what}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(error.kind().is_damaged(), "{what}: {text}");
                    assert!(text.contains(expected) && !expected.is_empty(), "{what}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_ledger_in_more_parts_than_are_written_is_damage() {
        let mut shelf = Shelf::default();
        shelf.put(1, &ledger(1), Some(&part(None, 0, 1)));
        for seq in 2..=PARTS_MAX as u8 + 1 {
            let over = Some((u64::from(seq) - 1, at(u64::from(seq) - 1)));
            shelf.put(seq.into(), &ledger(seq), Some(&part(over, seq - 1, seq)));
        }
        let most = PARTS_MAX as u64;
        assert_eq!(*shelf.read(most).expect("it is read"), ledger(most as u8));
        let error = shelf.read(most + 1).expect_err("one more");
        assert!(error.to_string().contains("at most 12 records back"), "{error}");
    }
}
