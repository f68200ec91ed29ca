//! A million objects at once: the memory of each resident, the processor time of all while nothing
//! happens, the disk space of one, and the time to wake one that is only on disk.
//!
//! The objects are the aircraft of the demo. This bench does not know how an object is kept in
//! memory.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use continuant::storage;
use continuant::{Code, Database, Durability, ObjectId, Options, Pending, SigningKey, args};

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::machine;
use crate::numbers::Numbers;
use crate::sizes::Sizes;
use crate::timing::pass;

pub(crate) const RESIDENT: &str = "resident.million";
pub(crate) const IDLE: &str = "resident.million.idle";
pub(crate) const HIBERNATED: &str = "hibernated.million";
pub(crate) const WAKE: &str = "wake.hibernated";

/// The demo's aircraft, and its policy.
const WASM: &[u8] = include_bytes!("../../guest/objects/aircraft.wasm");
const POLICY: &str = include_str!("../../guest/examples/aircraft/policy.cedar");
/// Creations or calls that are under way at once.
const UNDER_WAY: usize = 1024;
/// The time during which nothing happens.
const IDLE_TIME: Duration = Duration::from_secs(3);
/// Memory for a few objects of a database; the others wake from disk.
const FEW_BYTES: u64 = 5 << 20;

/// Creates the objects, steps each twice, and looks at what they take; then opens the database
/// again and wakes some.
pub(crate) fn million(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("db");
    let (ids, mut figures) = residents(&path, sizes.residents)?;
    let bytes = fs::metadata(path.join("index.redb"))?.len() as f64 / ids.len() as f64;
    let about = "bytes on disk of the index, for each object that is in it, once it was compacted";
    figures.push(Figure::single(HIBERNATED, about, Unit::BYTES, bytes));
    figures.push(wakes(&path, &ids, sizes.wakes, rounds)?);
    Ok(figures)
}

fn residents(path: &Path, count: usize) -> Result<(Vec<ObjectId>, Vec<Figure>)> {
    let storage = storage::Options::new().compact_index(true);
    let db = Options::new().storage(storage).resident_bytes_max(u64::MAX).open(path)?;
    let operator = SigningKey::from_secret(&[7; 32]).public().0;
    let code = Code::wasm(WASM)?.policy(POLICY).args(args![operator.to_vec()]);
    // The first objects also cost memory that all objects share.
    create(&db, &code, UNDER_WAY)?;
    let before = machine::resident_bytes().unwrap_or_default();
    let ids = create(&db, &code, count)?;
    for _ in 0..2 {
        step_each(&db, &ids)?;
    }
    db.sync()?;
    let resident = db.metrics().objects_resident;
    ensure!(resident as usize >= count, "{resident} of {count} objects are resident");
    let taken = machine::resident_bytes().unwrap_or_default().saturating_sub(before);
    let samples = [taken as f64 / count as f64].into_iter().collect();
    let pages = db.snapshot(ids[0])?.image().changed_pages().len() * 4096;
    let about_pages = "the pages in which an object differs from its code's base image";
    let vs = vec![Peer::fixed("floor.pages", about_pages, pages as f64)];
    let about = "resident set by which the process grew for each object, its caches included";
    let figure = Figure::new(RESIDENT, about, Unit::BYTES, samples, vs);

    let (start, before) = (Instant::now(), machine::processor_time().unwrap_or_default());
    pass(IDLE_TIME.min(Duration::from_millis(count as u64)));
    let used = machine::processor_time().unwrap_or_default().saturating_sub(before);
    let percent = used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    let about = "time of a processor that the process took while all were resident and idle";
    let idle = Figure::single(IDLE, about, Unit::PERCENT, percent);
    db.close()?;
    Ok((ids, vec![figure, idle]))
}

fn create(db: &Database, code: &Code, count: usize) -> Result<Vec<ObjectId>> {
    let mut ids = Vec::with_capacity(count);
    let mut under_way: VecDeque<Pending> = VecDeque::new();
    for _ in 0..count {
        let (id, pending) = db.begin_create(code.clone())?;
        ids.push(id);
        under_way.push_back(pending);
        if under_way.len() > UNDER_WAY {
            wait(under_way.pop_front())?;
        }
    }
    under_way.into_iter().try_for_each(|pending| wait(Some(pending)))?;
    Ok(ids)
}

fn step_each(db: &Database, ids: &[ObjectId]) -> Result<()> {
    let mut under_way: VecDeque<Pending> = VecDeque::new();
    for &id in ids {
        under_way.push_back(divert(db, id)?);
        if under_way.len() > UNDER_WAY {
            wait(under_way.pop_front())?;
        }
    }
    under_way.into_iter().try_for_each(|pending| wait(Some(pending)))
}

/// The one thing that anybody may say of an aircraft.
fn divert(db: &Database, id: ObjectId) -> continuant::Result<Pending> {
    db.call(id, "divert", args![]).durability(Durability::Relaxed).submit()
}

fn wait(pending: Option<Pending>) -> Result<()> {
    Ok(pending.map_or(Ok(()), |pending| pending.wait().map(drop))?)
}

/// Calls of objects that are not in memory, one at a time, and the same once more.
fn wakes(path: &Path, ids: &[ObjectId], count: usize, rounds: usize) -> Result<Figure> {
    let db = Options::new().resident_bytes_max(FEW_BYTES).open(path)?;
    let mut numbers = Numbers(7);
    let (mut cold, mut warm) = (Samples::default(), Samples::default());
    for round in 0..=rounds {
        let mut took = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let id = ids[numbers.below(ids.len())];
            took.0.push(call(&db, id)?);
            took.1.push(call(&db, id)?);
        }
        // The first round finds the file's pages cold.
        if round > 0 {
            cold.push(middle(took.0));
            warm.push(middle(took.1));
        }
    }
    db.close()?;
    let about = "from the call of an object that is on disk alone to its answer, the middle one \
                 of many, the files' pages in memory";
    let about_warm = "the same of the object that was called last";
    let vs = vec![Peer { name: "resident", about: about_warm, samples: warm }];
    Ok(Figure::new(WAKE, about, Unit::MICROSECONDS, cold, vs))
}

fn call(db: &Database, id: ObjectId) -> Result<Duration> {
    let start = Instant::now();
    wait(Some(divert(db, id)?))?;
    Ok(start.elapsed())
}

fn middle(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1e6
}
