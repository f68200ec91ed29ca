//! The row of an object: all that an append and a read need to know of its newest version, and its
//! change by each new record.
//!
//! A row is changed by the same functions whether its record is being written, staged by an import
//! or read again by recovery. This module does not know where rows are kept.
//!
//! Invariant: a row agrees with its object's records, with positions instead of bytes.

use std::sync::Arc;

use object::commit::Commit;
use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash, RefusalHash, VersionHash};
use object::header::{Header, Kind};
use object::ledger::Ledger;
use object::lineage::{Spine, jump_seq};
use object::refusal::Refusal;
use object::secret::Secret;
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::damaged;
use crate::record::RefusalNotes;
use crate::record::link::{Link, RefusalLink};
use crate::record::page::PageChange;
use crate::record::retention::Retention;
use crate::record::version::{LedgerPart, Notes};
use crate::rows::ledgers::Ledgers;
use crate::rows::pages::PageTable;

/// An object's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The newest version and those that jumps lead to.
    pub(crate) spine: Spine<Link>,
    pub(crate) time: Time,
    pub(crate) created: Time,
    pub(crate) wake: Option<Time>,
    pub(crate) code: CodeHash,
    pub(crate) policy: PolicyHash,
    pub(crate) base: BaseHash,
    /// True if the code was ever changed: from then on records that have a page table name the base
    /// image too.
    pub(crate) upgraded: bool,
    pub(crate) genesis: Position,
    /// The version whose record has the last part of the ledger; none for an empty one.
    pub(crate) ledger: Position,
    /// The version that has the globals; none for those of the base image.
    pub(crate) globals: Position,
    /// The last refusal, if there is one.
    pub(crate) refusal: Option<RefusalLink>,
    pub(crate) refusal_count: u64,
    pub(crate) name: Option<String>,
    /// True if the object ended here, as it continues elsewhere.
    pub(crate) moved: bool,
    /// True if the newest version is a deletion: it is the last, and its time is that of the row.
    pub(crate) deleted: bool,
    /// The object's own rule of retention, if it has one.
    pub(crate) retention: Option<Retention>,
    /// The places of the pages; read from the log when unknown.
    pub(crate) pages: Option<PageTable>,
    /// The ledgers from whose parts the newest one is read, without those of a small one; from the
    /// log when unknown.
    pub(crate) ledgers: Option<Ledgers>,
}

impl Row {
    /// Bytes that the row takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        let pages = self.pages.as_ref().map_or(0, PageTable::memory_bytes);
        let ledgers = self.ledgers.as_ref().map_or(0, Ledgers::memory_bytes);
        let name = self.name.as_ref().map_or(0, String::len);
        size_of::<Row>() + size_of_val(self.spine.links()) + name + pages + ledgers
    }

    /// Evicts what only the log has: the places of the pages, and the ledgers.
    pub(crate) fn evict(&mut self) {
        (self.pages, self.ledgers) = (None, None);
    }

    /// Returns the row as the index has it.
    pub(crate) fn indexed(&self) -> Row {
        let mut row = self.clone();
        row.evict();
        row
    }

    /// The newest version's seq.
    pub(crate) fn seq(&self) -> u64 {
        self.spine.head().expect("a row has a version").0
    }

    /// Returns the version that the next version's jump names.
    pub(crate) fn next_jump(&self) -> Link {
        self.spine.next_jump().expect("a row has a spine")
    }

    /// The hash of the last refusal, if there is one.
    pub(crate) fn refusal_hash(&self) -> Option<RefusalHash> {
        self.refusal.map(|link| link.hash)
    }

    /// The place of the last refusal, as the next record notes it.
    pub(crate) fn refusal_position(&self) -> Position {
        self.refusal.map_or(Position::NONE, |link| link.position)
    }

    /// The notes beside the next refusal.
    pub(crate) fn refusal_notes(&self) -> RefusalNotes {
        RefusalNotes { previous: self.refusal_position(), number: self.refusal_count }
    }

    /// The next wake, if it is to run here.
    pub(crate) fn armed(&self) -> Option<Time> {
        self.wake.filter(|_| !self.moved)
    }

    /// The time of the deletion, if the object was deleted.
    pub(crate) fn deleted_at(&self) -> Option<Time> {
        self.deleted.then_some(self.time)
    }

    /// Checks that the object, which has this id, was not deleted.
    pub(crate) fn require_living(&self, id: ObjectId) -> Result<()> {
        match self.deleted_at() {
            Some(at) => Err(Error::from(ErrorKind::Deleted { at }).of(id)),
            None => Ok(()),
        }
    }

    /// Checks that a version or a refusal may follow, in the frame at a position.
    pub(crate) fn require_open(&self, at: Position) -> Result<()> {
        match self.deleted {
            true => Err(damaged(at, "nothing of an object that was deleted", "a record of it")),
            false => Ok(()),
        }
    }

    /// The newest version.
    pub(crate) fn head(&self) -> Link {
        self.spine.head().expect("a row has a version").1
    }

    /// The genesis.
    pub(crate) fn first(&self) -> Link {
        self.spine.links().last().expect("a spine ends with the genesis").1
    }

    /// Returns the row of a new object whose genesis stands at [`Position::HERE`], and the notes
    /// beside it.
    ///
    /// # Panics
    ///
    /// When the version is not a genesis, or has no secret, or names no base image.
    pub(crate) fn begin(version: &NewVersion<'_>) -> (Row, Notes) {
        assert!(version.secret.is_some(), "an object begins with a secret");
        let base = version.base.expect("a genesis names its base image");
        let own = |is_own| if is_own { Position::HERE } else { Position::NONE };
        let mut pages = PageTable::default();
        let notes = Notes {
            parent: Position::NONE,
            jump: Position::NONE,
            genesis: Position::HERE,
            refusal: Position::NONE,
            ledger: own(version.ledger),
            globals: own(version.globals),
            table: pages.advance(version.changes, Position::HERE),
            base: Some(base),
            secret: version.secret.cloned().map(Box::new),
        };
        let mut row = Row::of_genesis(version.header, version.hash, Position::HERE, &notes, base);
        row.pages = Some(pages);
        assert_eq!(row.head().hash, version.hash, "the genesis is the head");
        (row, notes)
    }

    /// Asserts what always holds, whatever the records were.
    pub(crate) fn check_invariants(&self) {
        let links = self.spine.links();
        let follows = |pair: &[(u64, Link)]| pair[1].0 == jump_seq(pair[0].0);
        assert!(links.windows(2).all(follows), "the links of a spine follow the jumps");
        assert_eq!(links.last().map(|last| last.0), Some(0), "a spine ends with the genesis");
        if let Some(pages) = &self.pages {
            pages.check_invariants();
        }
    }

    /// Takes in the next version, which stands at [`Position::HERE`]; returns the notes beside it.
    ///
    /// # Panics
    ///
    /// When the version does not follow, the object was deleted, the row does not know its pages,
    /// or another version than an upgrade begins from a base image.
    pub(crate) fn extend(&mut self, version: &NewVersion<'_>) -> Notes {
        assert_eq!(version.header.parent, Some(self.head().hash), "a version follows the head");
        let is_upgrade = version.header.kind == Kind::Upgrade;
        assert_eq!(version.base.is_some(), is_upgrade, "an upgrade begins from a base image");
        let (seq, genesis) = (self.seq(), self.genesis);
        let pages = self.pages.as_mut().expect("a row that is extended knows its pages");
        if is_upgrade {
            (*pages, self.globals) = (PageTable::default(), Position::NONE);
        }
        let table = pages.advance(version.changes, Position::HERE);
        let own = |is_own, before| if is_own { Position::HERE } else { before };
        let is_named = self.upgraded && table.is_some();
        let notes = Notes {
            parent: self.head().position,
            jump: self.next_jump().position,
            genesis: self.genesis,
            refusal: self.refusal_position(),
            ledger: own(version.ledger, self.ledger),
            globals: own(version.globals, self.globals),
            table,
            base: version.base.or(is_named.then_some(self.base)),
            secret: None,
        };
        self.follow(version.header, Link { hash: version.hash, position: Position::HERE }, &notes);
        assert_eq!((self.seq(), self.genesis), (seq + 1, genesis), "a row goes on by one version");
        assert_eq!(self.head().hash, version.hash, "the version is the head");
        notes
    }

    /// Returns the places of the pages.
    ///
    /// # Panics
    ///
    /// When they are unknown.
    pub(crate) fn known_pages(&self) -> &PageTable {
        self.pages.as_ref().expect("a row that is extended knows its pages")
    }

    /// Returns the row of an object whose genesis stands at `position`.
    pub(crate) fn of_genesis(
        header: &Header,
        hash: VersionHash,
        position: Position,
        notes: &Notes,
        base: BaseHash,
    ) -> Row {
        assert_eq!(header.seq, 0, "a lineage starts with a genesis");
        let mut spine = Spine::new();
        spine.push(Link { hash, position });
        Row {
            spine,
            time: header.time,
            created: header.time,
            wake: header.wake,
            code: header.code,
            policy: header.policy,
            base,
            upgraded: false,
            genesis: position,
            ledger: notes.ledger,
            globals: notes.globals,
            refusal: None,
            refusal_count: 0,
            name: None,
            moved: false,
            deleted: false,
            retention: None,
            pages: None,
            ledgers: None,
        }
    }

    /// Returns the part of the next version's ledger that its record has. The row knows its
    /// ledgers, if it has any that are in other frames.
    pub(crate) fn write_ledger(&mut self, seq: u64, ledger: &Arc<Ledger>) -> LedgerPart<Vec<u8>> {
        self.ledgers.get_or_insert_default().write(seq, ledger)
    }

    /// Takes in the next version as its record says it is; the pages are the caller's to keep.
    pub(crate) fn follow(&mut self, header: &Header, link: Link, notes: &Notes) {
        self.spine.push(link);
        (self.time, self.wake) = (header.time, header.wake);
        (self.code, self.policy) = (header.code, header.policy);
        (self.ledger, self.globals) = (notes.ledger, notes.globals);
        self.base = notes.base.unwrap_or(self.base);
        self.upgraded |= header.kind == Kind::Upgrade;
        assert!(!self.deleted, "nothing follows a deletion");
        self.deleted = header.kind == Kind::Delete;
        assert_eq!(self.seq(), header.seq, "a row follows its object");
    }

    /// Returns the row of an object whose staged records made this one: it is here from now on. If
    /// it came back, `before` is its row, and this database's facts about it stay.
    pub(crate) fn adopted(mut self, before: Option<&Row>) -> Row {
        self.moved = false;
        if let Some(before) = before {
            (self.name, self.retention) = (before.name.clone(), before.retention);
        }
        self
    }

    /// Takes in a refusal that stands at `position`.
    pub(crate) fn refuse(&mut self, refusal: &Refusal, position: Position) {
        assert!(position != Position::NONE, "a refusal is somewhere");
        assert!(!self.deleted, "nothing follows a deletion");
        self.refusal = Some(RefusalLink { hash: refusal.hash(), position });
        self.refusal_count += 1;
    }

    /// Puts the frame's position where [`Position::HERE`] stands.
    pub(crate) fn settle(&mut self, frame: Position) {
        let places = [&mut self.genesis, &mut self.ledger, &mut self.globals];
        let refusal = self.refusal.as_mut().map(|link| &mut link.position);
        places.into_iter().chain(refusal).for_each(|place| *place = place.within(frame));
        self.spine.change(|link| link.position = link.position.within(frame));
        if let Some(pages) = &mut self.pages {
            pages.settle(frame);
        }
        self.ledgers.iter_mut().for_each(|ledgers| ledgers.settle(frame));
        let places = [self.genesis, self.ledger, self.globals, self.refusal_position()];
        assert!(!places.contains(&Position::HERE), "a row that is kept names its frames");
        let has_place = |(_, link): &(u64, Link)| link.position != Position::HERE;
        debug_assert!(self.spine.links().iter().all(has_place), "and those of its versions");
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }
}

/// A version as far as the row and the notes depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewVersion<'a> {
    pub(crate) header: &'a Header,
    pub(crate) hash: VersionHash,
    /// The changes of its pages, ascending.
    pub(crate) changes: &'a [PageChange],
    /// The base image that its memory begins from: of a genesis or an upgrade.
    pub(crate) base: Option<BaseHash>,
    /// The object's secret: of a genesis.
    pub(crate) secret: Option<&'a Secret>,
    /// True if its record has a part of the ledger.
    pub(crate) ledger: bool,
    /// True if its record has the globals.
    pub(crate) globals: bool,
}

impl<'a> NewVersion<'a> {
    /// Describes the version of `commit`, with pages written by `changes`, over `base` if its
    /// memory begins there, and with the object's secret if it is a genesis.
    pub(crate) fn new(
        commit: &'a Commit<'_>,
        hash: VersionHash,
        (base, secret): (Option<BaseHash>, Option<&'a Secret>),
        changes: &'a [PageChange],
        ledger: bool,
    ) -> NewVersion<'a> {
        let globals = commit.globals.is_some();
        NewVersion { header: &commit.header, hash, changes, base, secret, ledger, globals }
    }
}
