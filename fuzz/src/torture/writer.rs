//! The process that is killed: it opens the database, commits on several threads, and prints what
//! was acknowledged.
//!
//! It keeps nothing that outlives it.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use continuant::{Code, Database, Durability, ObjectId, Options, args};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Line;
use super::record::Commit;
use crate::generate::{COUNTER, source};

/// The argument that makes the process a writer, in place of a target.
pub const WRITER: &str = "torture-writer";

const OPEN: &str = r#"@id("open") permit(principal, action, resource);"#;
const THREADS: u64 = 4;
const OBJECTS: usize = 12;
/// Calls of one thread that wait at the same time.
const BURST: usize = 40;

/// Options under which segments are full soon and the index is written all the time.
pub(super) fn storage_options(rng: &mut StdRng) -> storage::Options {
    let options = storage::Options::new().segment_bytes(64 << 10).index_cache_bytes(1 << 20);
    match rng.random_range(0..3) {
        0 => options.recent_rows_max(4),
        1 => options.tail_bytes_max(50_000).group_bytes_max(20_000),
        _ => options.tail_bytes_max(1 << 20),
    }
}

/// Makes `commits` commits and closes the database.
///
/// # Errors
///
/// Any failure: nothing should fail.
pub fn write(path: &Path, seed: u64, commits: u64) -> anyhow::Result<()> {
    let mut rng = source(seed);
    let resident_bytes_max = if rng.random_bool(0.3) { 20_000 } else { 1 << 30 };
    let options = Options::new().workers(2).resident_bytes_max(resident_bytes_max);
    let db = options.storage(storage_options(&mut rng)).open(path)?;
    say(Line::Opened)?;
    let mut objects: Vec<ObjectId> = Vec::new();
    for info in db.objects() {
        objects.push(info?.id);
    }
    while objects.len() < OBJECTS {
        objects.push(create(&db, &mut rng)?);
    }
    let left = AtomicU64::new(commits);
    std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|thread| {
            let (db, objects, left) = (&db, &objects, &left);
            let rng = source(seed.wrapping_add(thread + 1));
            scope.spawn(move || commit(db, objects, left, rng))
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a writer does not panic"))
    })?;
    say(Line::Closing)?;
    Ok(db.close()?)
}

fn create(db: &Database, rng: &mut StdRng) -> anyhow::Result<ObjectId> {
    let name = format!("counter {:016x}", rng.random::<u64>());
    let object = db.create(Code::wasm(COUNTER)?.policy(OPEN).name(name))?;
    say(Line::Commit(Commit { object, seq: 0, version: db.at(object, 0)?.hash() }))?;
    Ok(object)
}

/// Calls counters, some at a time, and says each receipt once it is durable.
fn commit(
    db: &Database,
    objects: &[ObjectId],
    left: &AtomicU64,
    mut rng: StdRng,
) -> anyhow::Result<()> {
    loop {
        let count = rng.random_range(1..=BURST);
        let mut calls = Vec::new();
        for _ in 0..count {
            let object = objects[rng.random_range(0..objects.len())];
            let relaxed = rng.random_bool(0.3);
            let durability = if relaxed { Durability::Relaxed } else { Durability::Durable };
            let call = db.call(object, "increment", args![rng.random_range(1..9u64)]);
            calls.push(call.durability(durability).submit()?);
        }
        for call in calls {
            let receipt = call.wait()?;
            receipt.ticket.wait()?;
            let (object, seq, version) = (receipt.object, receipt.header.seq, receipt.version);
            say(Line::Commit(Commit { object, seq, version }))?;
        }
        let before = left.load(Ordering::Relaxed);
        left.store(before.saturating_sub(count as u64), Ordering::Relaxed);
        if before <= count as u64 {
            return Ok(());
        }
    }
}

/// Prints one line in one write, so that lines of several threads do not mix.
fn say(line: Line) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{line}\n").as_bytes())?;
    Ok(output.flush()?)
}
