//! The push of a frame: it gets its place in the log, and the rows change as it says, under one
//! lock.
//!
//! ```text
//!   look (no lock) ---> heads locked: still so? --yes--> push, rows ---> heads unlocked
//!     ^                                |
//!     +--------------- no -------------+
//! ```
//!
//! This module does not know what is pushed, nor who waits until it is durable.
//!
//! Invariant: frames are pushed here alone, so rows and log agree.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use object::evidence::Leaf;
use object::hash::ObjectId;
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{MutexGuard, rank};
use crate::log::Pushed;
use crate::log::writer::Done;
use crate::record::event::Event;
use crate::record::message::{Dead, MessageId};
use crate::record::name::{NameRow, Naming};
use crate::record::{BlobHash, Body, records};
use crate::rows::heads::Heads;
use crate::rows::projector::{Projector, Rows};
use crate::rows::row::Row;
use crate::store::Inner;

/// The heads, locked.
pub(super) type LockedHeads<'a> = MutexGuard<'a, Heads, rank::Heads>;

/// The changes of the rows by one frame.
#[derive(Default)]
pub(super) struct Changes<'a> {
    /// The rows of the objects that the frame has records of or events about.
    pub(super) rows: Vec<Drafted>,
    /// The blobs of the frame.
    pub(super) blobs: Vec<BlobHash>,
    /// The events of the frame.
    pub(super) events: Vec<Event<'a>>,
    /// The rows of the names that the events are about, as they were looked up.
    pub(super) names: Vec<(String, Option<NameRow>)>,
    /// The dead letter that an event takes.
    pub(super) dead: Option<Dead>,
    /// The leaves of the frame's records, in their order.
    pub(super) leaves: Vec<Leaf>,
}

/// The row of an object as the records of a frame leave it.
pub(super) struct Drafted {
    pub(super) id: ObjectId,
    /// The row that the records follow; none for a new object.
    pub(super) before: Option<Arc<Row>>,
    pub(super) after: Row,
}

impl Drafted {
    /// Returns the unchanged row of an object.
    pub(super) fn new(id: ObjectId, before: Arc<Row>) -> Drafted {
        Drafted { id, after: Row::clone(&before), before: Some(before) }
    }

    /// Returns whether the row that was looked up is the newest. No row leaves memory in an epoch.
    pub(super) fn holds(&self, heads: &Heads) -> bool {
        match (heads.row(&self.id), &self.before) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

impl Inner {
    /// Waits for room in the log, looks something up, and locks the heads. Looks again if it does
    /// not hold then, or if entries moved from memory to the index meanwhile: they may be missing
    /// in both for one who looked in between.
    pub(super) fn look_up<T>(
        &self,
        look: impl Fn() -> Result<T>,
        holds: impl Fn(&T, &Heads) -> bool,
    ) -> Result<(T, LockedHeads<'_>)> {
        loop {
            self.log.wait_for_room()?;
            let epoch = self.heads.lock().epoch();
            let found = look()?;
            let heads = self.heads.lock();
            if heads.epoch() == epoch && holds(&found, &heads) {
                return Ok((found, heads));
            }
        }
    }

    /// Pushes a frame, and changes the rows by it.
    ///
    /// When this fails, nothing is changed, and `done` was given back.
    pub(super) fn push(
        &self,
        heads: &mut Heads,
        body: &Body,
        hash: blake3::Hash,
        changes: Changes<'_>,
        done: Done,
    ) -> Result<Pushed<'_>, (Error, Done)> {
        debug_assert!(records(&body.0).all(|record| record.is_ok()), "what is written is read");
        let pushed = self.log.push(&body.0, hash, done)?;
        self.tail_bytes.fetch_add(body.0.len() as u64, Ordering::Relaxed);
        changes.apply(heads, pushed.position);
        Ok(pushed)
    }

    /// Pushes a frame of one event, as [`push_event`](Inner::push_event) does, and writes the index
    /// when it is behind.
    pub(super) fn record_event<'a>(
        &self,
        heads: LockedHeads<'_>,
        event: Event<'a>,
        changes: Changes<'a>,
    ) -> Result<()> {
        let (pushed, recent_count) = self.push_event(heads, event, changes)?;
        drop(pushed);
        self.catch_up(recent_count);
        Ok(())
    }

    /// Writes the index when it is behind. A failure does not affect the frame that was pushed,
    /// which has its place.
    pub(super) fn catch_up(&self, recent_count: usize) {
        if let Err(error) = self.relieve(recent_count) {
            tracing::error!(%error, "writing the index");
        }
    }

    /// Pushes a frame of one event, and counts the rows that wait for the index then; `changes` has
    /// what the event changes. Unlocks the heads.
    pub(super) fn push_event<'a>(
        &self,
        heads: LockedHeads<'_>,
        event: Event<'a>,
        mut changes: Changes<'a>,
    ) -> Result<(Pushed<'_>, usize)> {
        changes.events.push(event);
        self.push_events(heads, changes)
    }

    /// Pushes a frame of the events of `changes`, as [`push_event`](Inner::push_event) does.
    pub(super) fn push_events(
        &self,
        mut heads: LockedHeads<'_>,
        changes: Changes<'_>,
    ) -> Result<(Pushed<'_>, usize)> {
        let mut body = Body::default();
        changes.events.iter().for_each(|event| body.event(event));
        let hash = blake3::hash(&body.0);
        let pushed = self.push(&mut heads, &body, hash, changes, Box::new(drop));
        let pushed = pushed.map_err(|(error, _)| error)?;
        Ok((pushed, heads.recent_count()))
    }
}

impl Changes<'_> {
    /// Returns the changes of one row.
    pub(super) fn of_row(drafted: Drafted) -> Self {
        Changes { rows: vec![drafted], ..Changes::default() }
    }

    /// Returns whether the rows that were looked up are the newest, those of names too.
    pub(super) fn hold(&self, heads: &Heads) -> bool {
        let is_newest = |(name, row): &(String, Option<NameRow>)| {
            heads.name(name).is_none_or(|newest| Some(newest) == *row)
        };
        self.rows.iter().all(|drafted| drafted.holds(heads)) && self.names.iter().all(is_newest)
    }

    /// Returns the object that has a name behind the events so far.
    pub(super) fn holder(&mut self, inner: &Inner, name: &str) -> Result<Option<ObjectId>> {
        let naming = self.events.iter().rev().find_map(|event| match event {
            Event::Name(naming) if naming.name == name => Some(naming),
            _ => None,
        });
        match naming {
            Some(naming) => Ok(naming.is_bound.then_some(naming.object)),
            None => Ok(self.name_row(inner, name)?.and_then(|row| row.holder)),
        }
    }

    /// Checks that an object can get a name that nobody has behind the events so far.
    pub(super) fn require_free(&mut self, inner: &Inner, name: &str, id: ObjectId) -> Result<()> {
        inner.validate_name(name, id)?;
        match self.holder(inner, name)? {
            Some(object) => Err(ErrorKind::NameTaken { name: name.to_string(), object }.into()),
            None => Ok(()),
        }
    }

    /// Returns the event that an object gets a name, or loses it.
    pub(super) fn naming<'a>(
        &mut self,
        inner: &Inner,
        (object, is_bound): (ObjectId, bool),
        name: Cow<'a, str>,
        time: Time,
    ) -> Result<Event<'a>> {
        let row = self.name_row(inner, &name)?;
        let before = row.map_or(Position::NONE, |row| row.at);
        Ok(Event::Name(Naming { object, is_bound, time, before, name }))
    }

    /// The row of a name before the events, which is looked up once.
    fn name_row(&mut self, inner: &Inner, name: &str) -> Result<Option<NameRow>> {
        if let Some((_, row)) = self.names.iter().find(|(known, _)| known == name) {
            return Ok(*row);
        }
        let row = inner.name_row(name)?;
        self.names.push((name.to_string(), row));
        Ok(row)
    }

    fn apply(self, heads: &mut Heads, position: Position) {
        let Changes { mut rows, blobs, events, dead, names: _, leaves } = self;
        let mut projector = Projector::new(position);
        let mut found = Found { heads, rows: &mut rows, dead };
        for event in events {
            projector.apply(event, &mut found).expect("what an event changes was looked up");
        }
        assert!(found.dead.is_none(), "a dead letter was looked up to be taken");
        for mut drafted in rows {
            let is_behind = |before: &Arc<Row>| before.seq() <= drafted.after.seq();
            assert!(drafted.before.as_ref().is_none_or(is_behind), "an object goes forward");
            drafted.after.settle(position);
            heads.put(drafted.id, drafted.after, drafted.before.as_deref());
        }
        for hash in blobs {
            heads.put_blob(hash, position);
        }
        for leaf in leaves {
            heads.push_leaf(position, leaf);
        }
    }
}

/// The rows and the dead letter that were looked up before the heads were locked.
struct Found<'a> {
    heads: &'a mut Heads,
    rows: &'a mut [Drafted],
    dead: Option<Dead>,
}

impl Rows for Found<'_> {
    type Tables = Heads;

    fn tables(&mut self) -> &mut Heads {
        self.heads
    }

    fn change(&mut self, id: ObjectId, change: impl FnOnce(&mut Row)) -> Result<()> {
        let drafted = self.rows.iter_mut().find(|drafted| drafted.id == id);
        change(&mut drafted.expect("a row was looked up").after);
        Ok(())
    }

    fn take_dead(&mut self, id: MessageId) -> Result<Option<Dead>> {
        self.heads.take_dead(id);
        Ok(self.dead.take())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;
    use crate::options::Options;
    use crate::record::retention::Retention;
    use crate::store::Store;

    /// A database with objects, in a directory of its own.
    fn database() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-2");
        std::fs::create_dir(directory.path().join("log")).expect("a directory");
        for file in ["continuant.db", "log/00000001.log"] {
            std::fs::copy(fixture.join(file), directory.path().join(file)).expect("a file");
        }
        directory
    }

    /// Looks up the row of an object, while something is done when it was looked at first; returns
    /// how often it was looked at, the row, and the row in memory then.
    fn looked_up(
        store: &Store,
        id: ObjectId,
        meanwhile: &dyn Fn(),
    ) -> (u32, Arc<Row>, Option<Arc<Row>>) {
        let look_count = Cell::new(0);
        let look = || {
            look_count.set(look_count.get() + 1);
            let row = store.inner().require_row(id)?;
            if look_count.get() == 1 {
                meanwhile();
            }
            Ok(Drafted::new(id, row))
        };
        let (drafted, heads) =
            store.inner().look_up(look, Drafted::holds).expect("it is looked up");
        let before = drafted.before.expect("there is an object");
        (look_count.get(), before, heads.row(&id).cloned())
    }

    #[test]
    fn a_row_that_changes_or_goes_to_the_index_meanwhile_is_looked_up_again() {
        let directory = database();
        let store = Options::new().open(directory.path()).expect("it opens");
        let id = store.list(None, 1).expect("an object")[0].id;
        let nothing = || {};
        let change = || store.set_retention(Some(id), Retention::Versions(3)).expect("a rule");
        let write = || store.checkpoint().expect("the index is written");
        let meanwhile: [(&str, u32, &dyn Fn()); 5] = [
            ("nothing", 1, &nothing),
            ("a change of a row in memory", 2, &change),
            ("the index has it", 2, &write),
            ("a change of a row in the index", 2, &change),
            ("nothing, once more", 1, &nothing),
        ];
        for (what, expected, meanwhile) in meanwhile {
            let (look_count, row, newest) = looked_up(&store, id, meanwhile);
            assert_eq!(look_count, expected, "{what}");
            assert_eq!(newest.expect("it is in memory"), row, "{what}");
        }
    }

    #[test]
    fn a_row_in_the_index_alone_is_looked_up_again_only_when_it_changes() {
        let directory = database();
        drop(Options::new().open(directory.path()).expect("it opens"));
        let rules = [None, Some(Retention::Versions(3)), None];
        for (at, rule) in rules.into_iter().enumerate() {
            // Opened again, the store has no row in memory.
            let store = Options::new().open(directory.path()).expect("it opens");
            let id = store.list(None, 1).expect("an object")[0].id;
            let meanwhile = || {
                store.checkpoint().expect("nothing is left to write");
                if let Some(rule) = rule {
                    store.set_retention(Some(id), rule).expect("a rule");
                }
            };
            let (look_count, row, newest) = looked_up(&store, id, &meanwhile);
            assert_eq!(
                (look_count, newest.is_some()),
                match rule {
                    Some(_) => (2, true),
                    None => (1, false),
                }
            );
            // The fixture has a rule for the object, that all is kept.
            let expected = if at > 0 { Retention::Versions(3) } else { Retention::All };
            assert_eq!(row.retention, Some(expected), "the newest row was looked up");
        }
    }

    /// Regression: only appends and imports wrote the index when it was behind.
    #[test]
    fn whatever_is_put_on_record_the_index_is_written_when_it_is_behind() {
        type Change = fn(&Store, ObjectId, u64);
        let changes: [(&str, Change); 4] = [
            ("an object's rule", |store, id, count| {
                store.set_retention(Some(id), Retention::Versions(count)).expect("a rule");
            }),
            ("the rule", |store, _, count| {
                store.set_retention(None, Retention::Versions(count)).expect("a rule");
            }),
            ("a move", |store, id, count| {
                assert!(store.set_moved(id, count % 2 == 0).expect("it is moved"));
            }),
            ("an outbox", |store, _, count| match count % 2 {
                0 => drop(store.create_outbox("mail").expect("it is made")),
                _ => assert!(store.remove_outbox("mail").expect("it is removed")),
            }),
        ];
        for (what, change) in changes {
            let directory = database();
            let options = Options::new().threads(false).tail_bytes_max(400);
            let store = options.open(directory.path()).expect("it opens");
            let id = store.list(None, 1).expect("an object")[0].id;
            let mut behind_max = 0;
            for count in 0..60 {
                change(&store, id, count);
                behind_max = behind_max.max(store.unindexed_bytes());
            }
            assert!((200..=400).contains(&behind_max), "{what}: {behind_max}");
        }
    }
}
