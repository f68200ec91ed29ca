#!/usr/bin/env bash
# redb 4.6.0: one read that fails ends the database for this process.
#
# One would guess that a read which fails once, because the host was out of memory or of descriptors
# for a moment, fails that read alone: nothing was being written, and the next read finds the same
# bytes. What happens: redb remembers that an operation of its backend failed, also when it was a
# read of a read-only transaction. From then on every read that is not in its cache, and every new
# write transaction, fails with `PreviousIo` until the database is closed and opened again, although
# its backend is well. Opened again, it has everything.
#
# So a store that puts redb over its own backend has to try such a read again below redb, or open the
# index anew; and it may not take `PreviousIo` for damage.
#
# Runs redb alone, in a temporary folder, with a backend in memory; fails if the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "redb-failed-read"
version = "0.0.0"
edition = "2024"

[dependencies]
redb = "=4.6.0"
TOML
cat > src/main.rs <<'RUST'
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

const TABLE: TableDefinition<u64, [u8; 64]> = TableDefinition::new("table");
const ROWS: u64 = 100_000;

/// A backend in memory, one read of which fails when that is asked for.
#[derive(Debug, Clone)]
struct Backend {
    bytes: Arc<InMemoryBackend>,
    fails: Arc<AtomicBool>,
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.bytes.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        match self.fails.swap(false, Ordering::SeqCst) {
            true => Err(std::io::ErrorKind::OutOfMemory.into()),
            false => self.bytes.read(offset, out),
        }
    }
    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.bytes.set_len(len)
    }
    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.bytes.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.bytes.write(offset, data)
    }
}

fn open(backend: &Backend) -> Database {
    // No room in the cache, so that reads come to the backend.
    Database::builder().set_cache_size(0).create_with_backend(backend.clone()).unwrap()
}

/// Reads every thousandth row: how many reads failed, and the last failure.
fn read(db: &Database) -> (u64, String) {
    let (mut failed, mut last) = (0, String::new());
    for key in (0..ROWS).step_by(1000) {
        let found = db
            .begin_read()
            .map_err(redb::Error::from)
            .and_then(|read| Ok(read.open_table(TABLE)?.get(key)?.map(|value| value.value())));
        match found {
            Ok(value) => assert_eq!(value, Some([key as u8; 64])),
            Err(error) => {
                failed += 1;
                last = format!("{error:?}");
            }
        }
    }
    (failed, last)
}

fn main() {
    let backend =
        Backend { bytes: Arc::new(InMemoryBackend::new()), fails: Arc::default() };
    let db = open(&backend);
    let write = db.begin_write().unwrap();
    {
        let mut table = write.open_table(TABLE).unwrap();
        for key in 0..ROWS {
            table.insert(key, [key as u8; 64]).unwrap();
        }
    }
    write.commit().unwrap();
    println!("before                 failed {:?}", read(&db));
    backend.fails.store(true, Ordering::SeqCst);
    let (during, _) = read(&db);
    assert!(!backend.fails.load(Ordering::SeqCst), "one read of the backend failed");
    let (after, last) = read(&db);
    println!("one read failed        failed {during} of 100");
    println!("the backend is well    failed {after} of 100, {last}");
    let write = db.begin_write().map(drop).map_err(|error| format!("{error:?}"));
    println!("a write transaction    {write:?}");
    drop(db);
    // What is in memory outlives the database: the backend is a handle on it.
    let (reopened, _) = read(&open(&backend));
    println!("opened again           failed {reopened} of 100");
    assert!(during > 1, "expected more than the one read to fail, found {during}");
    assert_eq!((after, reopened), (100, 0));
    assert!(last.contains("PreviousIo"), "{last}");
    assert!(write.is_err_and(|error| error.contains("PreviousIo")));
    println!("as described: redb 4.6.0");
}
RUST
cargo run --quiet
