//! The index: rows of objects, names, wakes and blobs by key, in redb. A cache of the log, written
//! behind it.
//!
//! It does not know how rows come about. It can be lost: whoever opens the store reads the log from
//! the place that the index covers, or from its start.
//!
//! Invariant: the index covers only what is durable in the log, and is written in two phases, so
//! that it survives a failed sync followed by a crash.

pub(crate) mod row;

use std::path::{Path, PathBuf};

use object::codec::{Reader, Write};
use object::hash::ObjectId;
use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::directory::{drop_cache, keep_file, temporary};
use crate::error::{Error, ErrorKind, Result};
use crate::heads::Generation;
use crate::log::record::BlobHash;
use crate::log::{Position, Tail};
use crate::row::Row;
use crate::store::ObjectInfo;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Object id to row.
const OBJECTS: Table = Table::new("objects");
/// Name to object id.
const NAMES: Table = Table::new("names");
/// Time, big endian, then object id; no value.
const WAKES: Table = Table::new("wakes");
/// Kind and hash to position.
const BLOBS: Table = Table::new("blobs");
/// What the index covers.
const META: Table = Table::new("meta");
const COVERED: &[u8] = b"covered";
/// The layout of rows and tables; an index of another is rebuilt.
const LAYOUT: u32 = 1;

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    database: Database,
    path: PathBuf,
}

impl Index {
    /// Opens the index in the file `path`; makes an empty one when there is none. Gives it with the
    /// end of what it covers.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<(Index, Option<Tail>)> {
        if !path.exists() {
            create(path).map_err(|error| failed(path, error))?;
        }
        if let Ok(file) = std::fs::File::open(path) {
            drop_cache(&file);
        }
        let mut builder = Database::builder();
        let opened = builder.set_cache_size(cache_bytes).open(path);
        let database = opened.map_err(|error| failed(path, error.into()))?;
        let index = Index { database, path: path.to_path_buf() };
        let covered = index.read(|index| index.covered())?;
        Ok((index, covered))
    }

    fn read<T>(&self, read: impl FnOnce(Reading) -> Result<T>) -> Result<T> {
        read(self.reading()?)
    }

    /// The index as it is now, whatever is written meanwhile.
    pub(crate) fn reading(&self) -> Result<Reading> {
        let transaction = self.database.begin_read();
        let transaction = transaction.map_err(|error| failed(&self.path, error.into()))?;
        Ok(Reading { transaction, path: self.path.clone() })
    }

    pub(crate) fn row(&self, id: ObjectId) -> Result<Option<Row>> {
        self.read(|index| index.row(id))
    }

    pub(crate) fn info(&self, id: ObjectId) -> Result<Option<ObjectInfo>> {
        self.read(|index| index.info(id))
    }

    pub(crate) fn name(&self, name: &str) -> Result<Option<ObjectId>> {
        self.read(|index| index.name(name))
    }

    pub(crate) fn blob(&self, hash: BlobHash) -> Result<Option<Position>> {
        self.read(|index| index.blob(hash))
    }

    pub(crate) fn list(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectInfo>> {
        self.read(|index| index.list(after, limit))
    }

    pub(crate) fn wakes_until(&self, time: u64) -> Result<Vec<(u64, ObjectId)>> {
        self.read(|index| index.wakes_until(time))
    }

    /// Writes a generation of rows, with the end of the log that it covers, in one transaction.
    pub(crate) fn write(&self, generation: &Generation, covers: Tail) -> Result<()> {
        let write = || {
            let mut transaction = self.database.begin_write()?;
            transaction.set_two_phase_commit(true);
            put(&transaction, generation, covers)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error: redb::Error| failed(&self.path, error))
    }
}

fn put(
    transaction: &WriteTransaction,
    generation: &Generation,
    covers: Tail,
) -> Result<(), redb::Error> {
    let mut rows: Vec<_> = generation.rows.iter().collect();
    rows.sort_unstable_by_key(|(id, _)| **id);
    let mut objects = transaction.open_table(OBJECTS)?;
    let mut wakes = transaction.open_table(WAKES)?;
    for (id, entry) in rows {
        objects.insert(&id.0[..], &row::encode(*id, &entry.row)[..])?;
        if entry.indexed_wake != entry.row.wake {
            if let Some(time) = entry.indexed_wake {
                wakes.remove(&wake_key(time, *id)[..])?;
            }
            if let Some(time) = entry.row.wake {
                wakes.insert(&wake_key(time, *id)[..], &[][..])?;
            }
        }
    }
    let mut names = transaction.open_table(NAMES)?;
    for (name, id) in &generation.names {
        let value = row::close(name.as_bytes(), id.0.to_vec());
        names.insert(name.as_bytes(), &value[..])?;
    }
    let mut blobs = transaction.open_table(BLOBS)?;
    for (hash, position) in &generation.blobs {
        let value = row::close(&hash.key(), position.0.to_le_bytes().to_vec());
        blobs.insert(&hash.key()[..], &value[..])?;
    }
    let mut value = Vec::new();
    value.put_u32(LAYOUT).put_u64(covers.end.0).put_u64(covers.last.0).put(&covers.check);
    transaction.open_table(META)?.insert(COVERED, &row::close(COVERED, value)[..])?;
    Ok(())
}

/// Makes an empty index. A crash on the way leaves a file that redb cannot open, so it has another
/// name until it is whole.
fn create(path: &Path) -> Result<(), redb::Error> {
    let temporary = temporary(path);
    if temporary.exists() {
        std::fs::remove_file(&temporary)?;
    }
    let database = Database::builder().create(&temporary)?;
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    for table in [OBJECTS, NAMES, WAKES, BLOBS, META] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    drop(database);
    std::fs::File::open(&temporary)?.sync_all()?;
    keep_file(path).map_err(|error| redb::Error::Io(std::io::Error::other(error.to_string())))
}

fn wake_key(time: u64, id: ObjectId) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&time.to_be_bytes());
    key[8..].copy_from_slice(&id.0);
    key
}

/// The index as of one moment.
pub(crate) struct Reading {
    transaction: ReadTransaction,
    path: PathBuf,
}

impl Reading {
    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let table = self.table(table)?;
        let value = table.get(key).map_err(|error| failed(&self.path, error.into()))?;
        let Some(value) = value else { return Ok(None) };
        let decoded = decode(value.value());
        decoded.map(Some).ok_or_else(|| self.damaged("a row does not match its check"))
    }

    fn table(&self, table: Table) -> Result<redb::ReadOnlyTable<&'static [u8], &'static [u8]>> {
        let opened = self.transaction.open_table(table);
        opened.map_err(|error| failed(&self.path, error.into()))
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::from(ErrorKind::IndexDamaged(problem.to_string())).at(&self.path)
    }

    fn covered(&self) -> Result<Option<Tail>> {
        let tail = self.get(META, COVERED, |value| {
            let mut reader = Reader::new("covered", row::open(COVERED, value)?);
            let layout = reader.u32().ok()?;
            let (end, last) = (Position(reader.u64().ok()?), Position(reader.u64().ok()?));
            let check = reader.array().ok()?;
            (layout == LAYOUT).then_some(Tail { end, last, check })
        })?;
        Ok(tail)
    }

    pub(crate) fn row(&self, id: ObjectId) -> Result<Option<Row>> {
        self.get(OBJECTS, &id.0, |value| row::decode(id, value))
    }

    fn info(&self, id: ObjectId) -> Result<Option<ObjectInfo>> {
        self.get(OBJECTS, &id.0, |value| row::info(id, value))
    }

    pub(crate) fn name(&self, name: &str) -> Result<Option<ObjectId>> {
        self.get(NAMES, name.as_bytes(), |value| {
            Some(ObjectId(row::open(name.as_bytes(), value)?.try_into().ok()?))
        })
    }

    pub(crate) fn blob(&self, hash: BlobHash) -> Result<Option<Position>> {
        self.get(BLOBS, &hash.key(), |value| {
            let position = row::open(&hash.key(), value)?.try_into().ok()?;
            Some(Position(u64::from_le_bytes(position)))
        })
    }

    pub(crate) fn list(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectInfo>> {
        use std::ops::Bound;
        let failed = |error: redb::StorageError| failed(&self.path, error.into());
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0[..]));
        let table = self.table(OBJECTS)?;
        let range = table.range::<&[u8]>((from, Bound::Unbounded)).map_err(failed)?;
        let mut infos = Vec::new();
        for entry in range.take(limit) {
            let (key, value) = entry.map_err(failed)?;
            let id = key.value().try_into().ok().map(ObjectId);
            let info = id.and_then(|id| row::info(id, value.value()));
            infos.push(info.ok_or_else(|| self.damaged("a row does not match its check"))?);
        }
        Ok(infos)
    }

    pub(crate) fn wakes_until(&self, time: u64) -> Result<Vec<(u64, ObjectId)>> {
        let failed = |error: redb::StorageError| failed(&self.path, error.into());
        let table = self.table(WAKES)?;
        let last = wake_key(time, ObjectId([0xff; 32]));
        let range = table.range::<&[u8]>(..=&last[..]).map_err(failed)?;
        let mut wakes = Vec::new();
        for entry in range {
            let (key, _) = entry.map_err(failed)?;
            let key: Option<&[u8; 40]> = key.value().try_into().ok();
            let key = key.ok_or_else(|| self.damaged("a wake is not a time and an object"))?;
            let (time, id) = key.split_first_chunk().expect("a key of 40 bytes has a time");
            let id = ObjectId(id.try_into().expect("32 bytes are left"));
            wakes.push((u64::from_be_bytes(*time), id));
        }
        Ok(wakes)
    }
}

/// What a failure of redb means here: the file system's own, or a damaged index.
fn failed(path: &Path, error: redb::Error) -> Error {
    let error = match error {
        redb::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            Error::io("index", error)
        }
        redb::Error::DatabaseAlreadyOpen => ErrorKind::Locked.into(),
        error => ErrorKind::IndexDamaged(error.to_string()).into(),
    };
    error.at(path)
}
