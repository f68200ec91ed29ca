//! The cost of reading a field: from a held snapshot, and from the newest version, on an idle
//! database and while a writer keeps the log busy.
//!
//! Reader, writer, worker and the log's thread share the machine's cores: with fewer cores than
//! threads, the busy figures include their waiting for a core.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};
use continuant::object::memory::Memory;
use continuant::{Database, ErrorKind, ObjectId, Options, Snapshot};

use crate::counter;
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::sizes::Sizes;
use crate::timing::nanoseconds_each;

pub(crate) const HELD_IDLE: &str = "snapshot.field_read.held.idle";
pub(crate) const HELD_BUSY: &str = "snapshot.field_read.held.busy";
pub(crate) const NEWEST_IDLE: &str = "snapshot.field_read.newest.idle";
pub(crate) const NEWEST_BUSY: &str = "snapshot.field_read.newest.busy";

/// The samples of one reader, round by round.
#[derive(Default)]
struct Measured {
    held: Samples,
    newest: Samples,
    floor: Samples,
}

/// Reads of one field.
pub(crate) fn field_read(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let db = Options::new().workers(1).open(directory.path().join("db"))?;
    let id = counter::create(&db)?;
    counter::increments(&db, id, 10)?;
    let (mut idle, mut busy) = (Measured::default(), Measured::default());
    for _ in 0..rounds {
        idle.round(&db, id, sizes.reads)?;
        while_writing(&db, id, || busy.round(&db, id, sizes.reads))?;
    }
    let held = "`snapshot.get::<u64>(\"count\")` of a held snapshot";
    let newest = "`db.snapshot(id)?.get::<u64>(\"count\")`";
    let held_busy = "`get` of a held snapshot, while a writer saturates the log";
    let newest_busy = "`snapshot` and `get`, while a writer saturates the log";
    Ok(vec![
        figure(HELD_IDLE, held, idle.held, idle.floor.clone()),
        figure(NEWEST_IDLE, newest, idle.newest, idle.floor),
        figure(HELD_BUSY, held_busy, busy.held, busy.floor.clone()),
        figure(NEWEST_BUSY, newest_busy, busy.newest, busy.floor),
    ])
}

fn figure(name: &str, about: &'static str, samples: Samples, floor: Samples) -> Figure {
    let floor_about = "the page of a held version, and eight bytes of it";
    let vs = vec![Peer { name: "floor.page_read", about: floor_about, samples: floor }];
    Figure::new(name, about, Unit::NANOSECONDS, samples, vs)
}

impl Measured {
    fn round(&mut self, db: &Database, id: ObjectId, reads: usize) -> Result<()> {
        let snapshot = db.snapshot(id)?;
        self.held.push(nanoseconds_each(reads, || Ok(snapshot.get::<u64>("count")?))?);
        self.newest.push(nanoseconds_each(reads, || Ok(db.snapshot(id)?.get::<u64>("count")?))?);
        self.floor.push(nanoseconds_each(reads, || page_read(&snapshot))?);
        Ok(())
    }
}

/// Eight bytes of the state's page, with no schema asked.
fn page_read(snapshot: &Snapshot) -> Result<u64> {
    let index = black_box(snapshot.definition().code.state_address / 4096);
    let bytes = snapshot.image().page(index).first_chunk().context("a page has eight bytes")?;
    Ok(u64::from_le_bytes(*bytes))
}

/// Runs `read` while another thread calls the object as fast as it is let.
fn while_writing<T>(db: &Database, id: ObjectId, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(db, id, &stop, &written));
        while written.load(Ordering::Acquire) == 0 && !writer.is_finished() {
            std::thread::yield_now();
        }
        let outcome = read();
        stop.store(true, Ordering::Release);
        writer.join().expect("the writer does not panic")?;
        outcome
    })
}

/// Keeps the object's mailbox full until `stop` is set.
fn write(db: &Database, id: ObjectId, stop: &AtomicBool, written: &AtomicU64) -> Result<()> {
    let mut last = counter::increment(db, id)?;
    while !stop.load(Ordering::Acquire) {
        match counter::increment(db, id) {
            Ok(pending) => last = pending,
            Err(error) if matches!(error.kind(), ErrorKind::MailboxFull { .. }) => {
                std::thread::yield_now();
            }
            Err(error) => return Err(error.into()),
        }
        written.fetch_add(1, Ordering::Release);
    }
    last.wait()?;
    Ok(())
}
