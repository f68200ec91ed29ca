//! The index: rows of objects, names, wakes, blobs, messages and outboxes by key, in redb. It is a
//! cache of the log, written behind it.
//!
//! This module does not know how rows come about. The index can be lost: opening the store then
//! reads the log from the place that the index covers, or from its start.
//!
//! Invariant: the index covers only the durable part of the log, and is written in two phases, so
//! that it survives a failed sync followed by a crash. When it is compacted, redb moves pages in
//! one phase; their checks show whether a page is damaged, and at worst the index is rebuilt.

mod backend;
pub(crate) mod row;
#[cfg(test)]
mod sample;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object::codec::{Reader, Write};
use object::hash::{CodeHash, ObjectId};
use object::time::Time;
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use crate::disk::directory::{keep_file, temporary};
use crate::disk::file::{Disk, DiskFile};
use crate::disk::overlay::Overlay;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::segment::Tail;
use crate::record::BlobHash;
use crate::record::loss::RecordedLoss;
use crate::record::mark::OutboxPlace;
use crate::record::message::{Dead, MessageId, Sent};
use crate::record::name::NameRow;
use crate::record::retention::Retention;
use crate::rows::evidence::{Sealed, SubtreeKey, SubtreeRow, Tree};
use crate::rows::heads::Generation;
use crate::rows::index::backend::{Backend, Failure};
use crate::rows::index::row::{Parts, PartsAt, PartsKey};
use crate::rows::info::ObjectInfo;
use crate::rows::messages::Messages;
use crate::rows::row::Row;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Object id to row.
const OBJECTS: Table = Table::new("objects");
/// The first bytes of a hash, mapped to the parts of objects.
const PARTS: Table = Table::new("parts");
/// Name to the object that has it, if one does, and its last record.
const NAMES: Table = Table::new("names");
/// Time, big endian, then object id; no value but the check.
const WAKES: Table = Table::new("wakes");
/// Kind and hash to position.
const BLOBS: Table = Table::new("blobs");
/// Receiver, place and number of each message on its way, mapped to the version and index.
const MESSAGES: Table = Table::new("messages");
/// The same of a message that came to nothing, with the reason.
const DEAD_LETTERS: Table = Table::new("dead letters");
/// Name to the place of an outbox.
const OUTBOXES: Table = Table::new("outboxes");
/// Level and index, big endian, of each whole subtree of the evidence tree, mapped to its hash and,
/// at level 1, the place of its first leaf.
const SUBTREES: Table = Table::new("subtrees");
/// The end of the log that the index covers.
const META: Table = Table::new("meta");
const COVERED: &[u8] = b"covered";
const RETENTION: &[u8] = b"retention";
const LOSSES: &[u8] = b"losses";
const TREE: &[u8] = b"tree";
const TABLES: [Table; 10] =
    [OBJECTS, PARTS, NAMES, WAKES, BLOBS, MESSAGES, DEAD_LETTERS, OUTBOXES, SUBTREES, META];
/// The layout of rows and tables; an index of another is rebuilt.
const LAYOUT: u32 = 2;

/// An open index.
#[derive(Debug)]
pub(crate) struct Index {
    /// There until it is dropped.
    database: Option<Database>,
    failure: Failure,
    path: PathBuf,
    /// True if the file gives back its free space when the index is dropped.
    compacts: AtomicBool,
}

impl Index {
    /// Opens the index in the file `path`; makes an empty one when there is none, or one of another
    /// layout, once the end that the old one covers is `validated`. Returns it with the end that it
    /// covers.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: usize,
        validated: &dyn Fn(Tail) -> Result<()>,
    ) -> Result<(Index, Option<Tail>)> {
        Index::open_in(Home::File(disk), path, cache_bytes, validated)
    }

    /// Opens the index in the file `path`, if this program can read it, and an empty one in memory
    /// otherwise; writes to either stay in memory.
    pub(crate) fn open_to_read(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: usize,
        validated: &dyn Fn(Tail) -> Result<()>,
    ) -> Result<(Index, Option<Tail>)> {
        Index::open_in(Home::Memory(disk), path, cache_bytes, validated)
    }

    fn open_in(
        home: Home<'_>,
        path: &Path,
        cache_bytes: usize,
        validated: &dyn Fn(Tail) -> Result<()>,
    ) -> Result<(Index, Option<Tail>)> {
        if let Some(file) = home.found(path)? {
            let (index, covered) = Index::of_file(file, path, cache_bytes)?;
            match covered {
                Covered::Nothing => return Ok((index, None)),
                Covered::Until(tail) => return Ok((index, Some(tail))),
                Covered::OtherLayout(tail) => tail.map_or(Ok(()), validated)?,
            }
        }
        let (index, _) = Index::of_file(home.made(path)?, path, cache_bytes)?;
        Ok((index, None))
    }

    /// Opens the existing index in the file `path`, whatever it covers.
    pub(crate) fn open_as_it_is(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: usize,
    ) -> Result<(Index, Covered)> {
        Index::of_file(file_to_write(disk, path)?, path, cache_bytes)
    }

    /// Returns the end that the index in the file `path` covers, if there is one that can be read.
    /// The file is not changed.
    pub(crate) fn covered_in(disk: &Arc<dyn Disk>, path: &Path) -> Result<Option<Tail>> {
        let Some(file) = Home::Memory(disk).found(path)? else { return Ok(None) };
        match Index::of_file(file, path, 1 << 20) {
            Ok((_, Covered::Until(tail) | Covered::OtherLayout(Some(tail)))) => Ok(Some(tail)),
            Ok((_, Covered::Nothing | Covered::OtherLayout(None))) => Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::IndexDamaged(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of_file(
        file: Arc<dyn DiskFile>,
        path: &Path,
        cache_bytes: usize,
    ) -> Result<(Index, Covered)> {
        let index = Index::connect(file, path, cache_bytes)?;
        let covered = index.reading()?.covered()?;
        Ok((index, covered))
    }

    /// An index in a file.
    fn connect(file: Arc<dyn DiskFile>, path: &Path, cache_bytes: usize) -> Result<Index> {
        let failure = Failure::default();
        let backend = Backend { file, failure: failure.clone() };
        let database = guard(path, &failure, || {
            let mut builder = Database::builder();
            Ok(builder.set_cache_size(cache_bytes).create_with_backend(backend)?)
        })?;
        let (database, compacts) = (Some(database), AtomicBool::new(false));
        Ok(Index { database, failure, path: path.to_path_buf(), compacts })
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is there until it is dropped")
    }

    /// Returns the present state of the index, unaffected by later writes.
    pub(crate) fn reading(&self) -> Result<Reading<'_>> {
        let transaction = self.guard(|| Ok(self.database().begin_read()?))?;
        Ok(Reading { transaction, index: self, last_parts: Cell::default() })
    }

    /// Writes a generation of rows, with the end of the log that it covers, in one transaction; and
    /// the evidence tree of that end, if it is another.
    pub(crate) fn write(
        &self,
        generation: &Generation,
        covers: Tail,
        evidence: Option<&Sealed>,
    ) -> Result<()> {
        self.guard(|| {
            let mut transaction = self.database().begin_write()?;
            transaction.set_two_phase_commit(true);
            put(&transaction, generation, covers)?;
            evidence.map_or(Ok(()), |evidence| put_evidence(&transaction, evidence))?;
            Ok(transaction.commit()?)
        })?;
        self.health()
    }

    /// Makes the file give back its free space when the index is dropped: only then nobody reads
    /// it.
    pub(crate) fn compact_when_dropped(&self) {
        self.compacts.store(true, Ordering::Relaxed);
    }

    fn guard<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T> {
        guard(&self.path, &self.failure, work)
    }

    /// Checks that nothing has failed, including failures that redb hides.
    pub(crate) fn health(&self) -> Result<()> {
        self.failure.check().map_err(|error| error.at(&self.path))
    }
}

/// The home of an index that is opened.
#[derive(Clone, Copy)]
enum Home<'a> {
    /// In its file, which may be made.
    File(&'a Arc<dyn Disk>),
    /// In memory, over its file when there is one.
    Memory(&'a Arc<dyn Disk>),
}

impl Home<'_> {
    /// The existing file.
    fn found(self, path: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
        let failed = |operation| move |error| Error::io(operation, error).at(path);
        let (Home::File(disk) | Home::Memory(disk)) = self;
        if !disk.exists(path).map_err(failed("read"))? {
            return Ok(None);
        }
        Ok(Some(match self {
            Home::File(disk) => file_to_write(disk, path)?,
            Home::Memory(disk) => {
                let file = disk.open_to_read(path).map_err(failed("open"))?;
                Arc::new(Overlay::over(Some(file)).map_err(failed("read"))?)
            }
        }))
    }

    /// Makes a file with an empty index, in place of the present one.
    fn made(self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        match self {
            Home::File(disk) => {
                let failed = |operation| move |error| Error::io(operation, error).at(path);
                if disk.exists(path).map_err(failed("read"))? {
                    disk.remove(path).map_err(failed("remove"))?;
                }
                create(disk, path)?;
                file_to_write(disk, path)
            }
            Home::Memory(_) => {
                let file =
                    Overlay::over(None).map_err(|error| Error::io("read", error).at(path))?;
                let file: Arc<dyn DiskFile> = Arc::new(file);
                fill(&file, path)?;
                Ok(file)
            }
        }
    }
}

fn file_to_write(disk: &Arc<dyn Disk>, path: &Path) -> Result<Arc<dyn DiskFile>> {
    let file = disk.open(path).map_err(|error| Error::io("open", error).at(path))?;
    file.drop_cache();
    Ok(file)
}

impl Drop for Index {
    fn drop(&mut self) {
        let compacts = *self.compacts.get_mut() && self.health().is_ok();
        let database = self.database.take();
        // It writes when it is closed, and so may panic on damage.
        let closed = self.guard(|| {
            if let Some(mut database) = database.filter(|_| compacts) {
                database.compact()?;
            }
            Ok(())
        });
        match closed {
            // The file only stays as large as it is.
            Err(error) if compacts && *error.kind() == ErrorKind::Full => {}
            Err(error) => tracing::error!(%error, "closing the index"),
            Ok(()) => {}
        }
    }
}

fn put(
    transaction: &WriteTransaction,
    generation: &Generation,
    covers: Tail,
) -> Result<(), redb::Error> {
    assert!(covers.last <= covers.end, "the last frame is before the end");
    let mut rows: Vec<_> = generation.rows.iter().collect();
    rows.sort_unstable_by_key(|(id, _)| **id);
    let mut objects = transaction.open_table(OBJECTS)?;
    let mut parts = PartsTable { table: transaction.open_table(PARTS)?, known: HashMap::new() };
    let mut wakes = transaction.open_table(WAKES)?;
    for (id, entry) in rows {
        let parts = parts.place(Parts::of(&entry.row))?;
        objects.insert(&id.0[..], &row::encode(*id, &entry.row, parts)[..])?;
        if entry.indexed_wake != entry.row.armed() {
            if let Some(time) = entry.indexed_wake {
                wakes.remove(&wake_key(time, *id)[..])?;
            }
            if let Some(time) = entry.row.armed() {
                let key = wake_key(time, *id);
                wakes.insert(&key[..], &row::close(&key, Vec::new())[..])?;
            }
        }
    }
    let mut names = transaction.open_table(NAMES)?;
    let mut bound: Vec<_> = generation.names.iter().collect();
    bound.sort_unstable_by_key(|(name, _)| *name);
    for (name, row) in bound {
        let value = row::close(name.as_bytes(), row.encode());
        names.insert(name.as_bytes(), &value[..])?;
    }
    let mut blobs = transaction.open_table(BLOBS)?;
    let mut placed: Vec<_> = generation.blobs.iter().map(|(hash, at)| (hash.key(), at)).collect();
    placed.sort_unstable();
    for (key, position) in placed {
        let value = row::close(&key, position.0.to_le_bytes().to_vec());
        blobs.insert(&key[..], &value[..])?;
    }
    put_messages(transaction, &generation.messages)?;
    let mut outboxes = transaction.open_table(OUTBOXES)?;
    for (name, place) in &generation.outboxes {
        let key = name.as_bytes();
        match place {
            Some(place) => outboxes.insert(key, &row::close(key, place.encode())[..])?,
            None => outboxes.remove(key)?,
        };
    }
    let mut value = Vec::new();
    value.put_u32(LAYOUT).put_u64(covers.end.0).put_u64(covers.last.0).put(&covers.check);
    let mut meta = transaction.open_table(META)?;
    meta.insert(COVERED, &row::close(COVERED, value)[..])?;
    if let Some(retention) = generation.retention {
        let mut value = Vec::new();
        retention.put(&mut value);
        meta.insert(RETENTION, &row::close(RETENTION, value)[..])?;
    }
    if let Some(losses) = &generation.losses {
        let mut value = Vec::new();
        losses.iter().for_each(|loss| loss.put_placed(&mut value));
        meta.insert(LOSSES, &row::close(LOSSES, value)[..])?;
    }
    Ok(())
}

/// The table of parts, while rows are written.
struct PartsTable<'t> {
    table: redb::Table<'t, &'static [u8], &'static [u8]>,
    known: HashMap<Parts, PartsAt>,
}

impl PartsTable<'_> {
    /// Returns where a row stores these parts: in the table, unless other parts are there under the
    /// same key.
    fn place(&mut self, parts: Parts) -> Result<PartsAt, redb::Error> {
        if let Some(known) = self.known.get(&parts) {
            return Ok(*known);
        }
        let key = parts.key();
        debug_assert_eq!(Parts::decode(&parts.encode()), Some(parts), "what is written is read");
        let found = self.table.get(&key[..])?.map(|value| decode_parts(&key, value.value()));
        let place = match found {
            Some(found) if found != Some(parts) => PartsAt::Row(parts),
            Some(_) => PartsAt::Key(key),
            None => {
                self.table.insert(&key[..], &row::close(&key, parts.encode())[..])?;
                PartsAt::Key(key)
            }
        };
        self.known.insert(parts, place);
        Ok(place)
    }
}

fn decode_parts(key: &[u8], value: &[u8]) -> Option<Parts> {
    Parts::decode(row::open(key, value)?)
}

fn put_evidence(transaction: &WriteTransaction, evidence: &Sealed) -> Result<(), redb::Error> {
    let mut subtrees = transaction.open_table(SUBTREES)?;
    for (key, row) in &evidence.rows {
        let key = subtree_key(*key);
        subtrees.insert(&key[..], &row::close(&key, row.encode())[..])?;
    }
    let value = evidence.tree.encode();
    debug_assert_eq!(
        Tree::decode(&value).as_ref(),
        Some(&evidence.tree),
        "what is written is read"
    );
    transaction.open_table(META)?.insert(TREE, &row::close(TREE, value)[..])?;
    Ok(())
}

fn put_messages(transaction: &WriteTransaction, messages: &Messages) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(MESSAGES)?;
    for (id, sent) in &messages.changed {
        let key = id.key();
        match sent {
            Some(sent) => table.insert(&key[..], &row::close(&key, sent.encode())[..])?,
            None => table.remove(&key[..])?,
        };
    }
    let mut table = transaction.open_table(DEAD_LETTERS)?;
    for (id, dead) in &messages.dead {
        let key = id.key();
        match dead {
            Some(dead) => table.insert(&key[..], &row::close(&key, dead.encode())[..])?,
            None => table.remove(&key[..])?,
        };
    }
    Ok(())
}

/// Makes an empty index. A crash on the way leaves a file that redb cannot open, so it has another
/// name until it is whole.
fn create(disk: &Arc<dyn Disk>, path: &Path) -> Result<()> {
    let temporary = temporary(path);
    let failed = |operation| move |error| Error::io(operation, error).at(path);
    let made = disk.create(&temporary).and_then(|file| file.set_length(0).map(|()| file));
    let file = made.map_err(failed("create"))?;
    // On a full disk it would hold the space that is missing.
    fill(&file, path).inspect_err(|_| drop(disk.remove(&temporary)))?;
    file.sync().map_err(failed("sync"))?;
    keep_file(&**disk, path)
}

/// Writes an empty index.
fn fill(file: &Arc<dyn DiskFile>, path: &Path) -> Result<()> {
    let failure = Failure::default();
    let backend = Backend { file: Arc::clone(file), failure: failure.clone() };
    guard(path, &failure, || {
        let database = Database::builder().create_with_backend(backend)?;
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        for table in TABLES {
            transaction.open_table(table)?;
        }
        Ok(transaction.commit()?)
    })?;
    failure.check().map_err(|error| error.at(path))
}

fn wake_key(time: Time, id: ObjectId) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&time.as_millis().to_be_bytes());
    key[8..].copy_from_slice(&id.0);
    key
}

/// The part of the log that the index covers.
pub(crate) enum Covered {
    Nothing,
    Until(Tail),
    /// An index with rows that this program cannot read; perhaps with a readable end.
    OtherLayout(Option<Tail>),
}

/// The keys of a table, ascending, each with its decoded row; none when the row does not match its
/// check.
pub(crate) type Page<T> = Vec<(Vec<u8>, Option<T>)>;

/// The index as of one moment.
pub(crate) struct Reading<'a> {
    transaction: ReadTransaction,
    index: &'a Index,
    /// The parts of the last row: the next row mostly has the same.
    last_parts: Cell<Option<(PartsKey, Parts)>>,
}

impl Reading<'_> {
    fn get<T>(
        &self,
        table: Table,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>> {
        let found = self.index.guard(|| {
            let table = self.transaction.open_table(table)?;
            let value = table.get(key)?;
            Ok(value.map(|value| decode(value.value())))
        })?;
        let damaged = || self.damaged("a row does not match its check");
        found.map(|decoded| decoded.ok_or_else(damaged)).transpose()
    }

    /// Returns the decoded rows of a table in a range of keys, at most `limit`, in the order of
    /// their keys.
    ///
    /// A page of the file may be an older one, which redb does not notice. Then keys come in any
    /// order, and a list that continues after the last key would never end.
    fn range<T>(
        &self,
        table: Table,
        range: (Bound<&[u8]>, Bound<&[u8]>),
        limit: usize,
        decode: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let rows = self.index.guard(|| {
            let table = self.transaction.open_table(table)?;
            let (mut rows, mut before) = (Vec::new(), None::<Vec<u8>>);
            for entry in table.range::<&[u8]>(range)?.take(limit) {
                let (key, value) = entry?;
                let is_next = before.as_deref().is_none_or(|before| before < key.value());
                if !is_next || !range.contains(key.value()) {
                    return Ok(Err("keys are out of order"));
                }
                let last = before.get_or_insert_default();
                last.clear();
                last.extend_from_slice(key.value());
                rows.push(decode(key.value(), value.value()));
            }
            Ok(Ok(rows))
        })?;
        let rows = rows.map_err(|problem| self.damaged(problem))?;
        let rows: Option<Vec<T>> = rows.into_iter().collect();
        rows.ok_or_else(|| self.damaged("a row does not match its check"))
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::from(ErrorKind::IndexDamaged(problem.to_string())).at(&self.index.path)
    }

    fn covered(&self) -> Result<Covered> {
        let covered = self.get(META, COVERED, |value| {
            let mut reader = Reader::new("covered", row::open(COVERED, value)?);
            let is_ours = reader.u32().ok()? == LAYOUT;
            let mut tail = || {
                let (end, last) = (Position(reader.u64().ok()?), Position(reader.u64().ok()?));
                let check = reader.array().ok()?;
                (reader.left() == 0).then_some(Tail { end, last, check })
            };
            match tail() {
                Some(tail) if is_ours => Some(Covered::Until(tail)),
                None if is_ours => None,
                // The covered end has had this form in all layouts so far.
                tail => Some(Covered::OtherLayout(tail)),
            }
        })?;
        Ok(covered.unwrap_or(Covered::Nothing))
    }

    /// The rule of objects without one of their own.
    pub(crate) fn retention(&self) -> Result<Option<Retention>> {
        self.get(META, RETENTION, |value| {
            let mut reader = Reader::new("retention", row::open(RETENTION, value)?);
            Retention::read(&mut reader).ok()
        })
    }

    /// The losses on record, oldest first.
    pub(crate) fn losses(&self) -> Result<Vec<RecordedLoss>> {
        let losses =
            self.get(META, LOSSES, |value| RecordedLoss::read_placed(row::open(LOSSES, value)?))?;
        Ok(losses.unwrap_or_default())
    }

    /// The evidence tree of the frames that the index covers.
    pub(crate) fn tree(&self) -> Result<Tree> {
        let found = self.get(META, TREE, |value| Tree::decode(row::open(TREE, value)?))?;
        found.ok_or_else(|| self.damaged("there is no evidence tree"))
    }

    /// A whole subtree that the evidence tree has.
    pub(crate) fn required_subtree(&self, key: SubtreeKey) -> Result<SubtreeRow> {
        let missing = || self.damaged("a subtree of the evidence tree is missing");
        self.subtree(key)?.ok_or_else(missing)
    }

    /// A whole subtree of the evidence tree.
    pub(crate) fn subtree(&self, key: SubtreeKey) -> Result<Option<SubtreeRow>> {
        let bytes = subtree_key(key);
        self.get(SUBTREES, &bytes, |value| SubtreeRow::decode(key.0, row::open(&bytes, value)?))
    }

    pub(crate) fn row(&self, id: ObjectId) -> Result<Option<Row>> {
        let found = self.get(OBJECTS, &id.0, |value| row::decode(id, value))?;
        found.map(|(row, parts)| self.whole(row, parts)).transpose()
    }

    /// A row with its parts.
    fn whole(&self, mut row: Row, parts: PartsAt) -> Result<Row> {
        let parts = match parts {
            PartsAt::Row(parts) => parts,
            PartsAt::Key(key) => match self.last_parts.get().filter(|last| last.0 == key) {
                Some((_, parts)) => parts,
                None => {
                    let found = self.get(PARTS, &key, |value| decode_parts(&key, value))?;
                    let found = found.ok_or_else(|| self.damaged("a row names missing parts"));
                    let parts = found?;
                    self.last_parts.set(Some((key, parts)));
                    parts
                }
            },
        };
        parts.put_into(&mut row);
        Ok(row)
    }

    pub(crate) fn name(&self, name: &str) -> Result<Option<NameRow>> {
        self.get(NAMES, name.as_bytes(), |value| {
            NameRow::decode(row::open(name.as_bytes(), value)?)
        })
    }

    /// The names that begin so.
    pub(crate) fn named(&self, prefix: &str) -> Result<Vec<(String, NameRow)>> {
        // No byte of a name is that large.
        let end = [prefix.as_bytes(), &[0xff]].concat();
        let range = (Bound::Included(prefix.as_bytes()), Bound::Excluded(&end[..]));
        self.range(NAMES, range, usize::MAX, named)
    }

    pub(crate) fn blob(&self, hash: BlobHash) -> Result<Option<Position>> {
        self.get(BLOBS, &hash.key(), |value| position(&hash.key(), value))
    }

    /// The hashes of code from `first` to `last`, at most `limit`.
    pub(crate) fn codes(
        &self,
        first: CodeHash,
        last: CodeHash,
        limit: usize,
    ) -> Result<Vec<CodeHash>> {
        let (first, last) = (BlobHash::Code(first).key(), BlobHash::Code(last).key());
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        self.range(BLOBS, range, limit, |key, value| {
            position(key, value)?;
            Some(CodeHash(key.get(1..)?.try_into().ok()?))
        })
    }

    pub(crate) fn list(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectInfo>> {
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0[..]));
        let rows = self.range(OBJECTS, (from, Bound::Unbounded), limit, |key, value| {
            let id = ObjectId(key.try_into().ok()?);
            Some((id, row::decode(id, value)?))
        })?;
        let info = |(id, (row, parts))| Ok(ObjectInfo::new(id, &self.whole(row, parts)?));
        rows.into_iter().map(info).collect()
    }

    /// The ids of at most `limit` objects, from the first behind `after`.
    pub(crate) fn ids(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectId>> {
        let from = after.as_ref().map_or(Bound::Unbounded, |id| Bound::Excluded(&id.0[..]));
        self.range(OBJECTS, (from, Bound::Unbounded), limit, |key, value| {
            row::open(key, value)?;
            Some(ObjectId(key.try_into().ok()?))
        })
    }

    pub(crate) fn wakes_until(&self, time: Time) -> Result<Vec<(Time, ObjectId)>> {
        let last = wake_key(time, ObjectId([0xff; 32]));
        let range = (Bound::Unbounded, Bound::Included(&last[..]));
        self.range(WAKES, range, usize::MAX, wake)
    }

    /// The messages on their way.
    pub(crate) fn messages(&self) -> Result<BTreeMap<MessageId, Sent>> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let messages = self.range(MESSAGES, all, usize::MAX, |key, value| {
            Some((MessageId::of_key(key)?, Sent::decode(row::open(key, value)?)?))
        })?;
        Ok(messages.into_iter().collect())
    }

    /// The outboxes.
    pub(crate) fn outboxes(&self) -> Result<BTreeMap<String, OutboxPlace>> {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let outboxes = self.range(OUTBOXES, all, usize::MAX, |key, value| {
            let place = OutboxPlace::decode(row::open(key, value)?)?;
            Some((String::from_utf8(key.to_vec()).ok()?, place))
        })?;
        Ok(outboxes.into_iter().collect())
    }

    /// Returns at most `limit` dead letters, from the first behind `after`.
    pub(crate) fn dead_letters(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<BTreeMap<MessageId, Dead>> {
        let after = after.map(MessageId::key);
        let from = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&key[..]));
        let dead = self.range(DEAD_LETTERS, (from, Bound::Unbounded), limit, |key, value| {
            Some((MessageId::of_key(key)?, Dead::decode(row::open(key, value)?)?))
        })?;
        Ok(dead.into_iter().collect())
    }

    /// The dead letter that is of this message.
    pub(crate) fn dead_letter(&self, id: MessageId) -> Result<Option<Dead>> {
        let key = id.key();
        self.get(DEAD_LETTERS, &key, |value| Dead::decode(row::open(&key, value)?))
    }

    /// Returns the wakes of objects, in the order of their ids: at most `limit` rows behind
    /// `after`.
    pub(crate) fn armed_after(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<(ObjectId, Option<Time>)>> {
        self.page(OBJECTS, after, limit, |key, value| {
            let id = ObjectId(key.try_into().ok()?);
            Some((id, row::decode(id, value)?.0.armed()))
        })
    }

    /// Returns at most `limit` wakes in their order, behind `after`.
    pub(crate) fn wakes_after(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<(Time, ObjectId)>> {
        self.page(WAKES, after, limit, wake)
    }

    /// Returns at most `limit` names with their rows, behind `after`.
    pub(crate) fn names_after(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<(String, NameRow)>> {
        self.page(NAMES, after, limit, named)
    }

    /// Returns the places of at most `limit` blobs, in the order of their keys, behind `after`.
    pub(crate) fn blobs_after(&self, after: Option<&[u8]>, limit: usize) -> Result<Page<Position>> {
        self.page(BLOBS, after, limit, position)
    }

    /// Returns the keys of at most `limit` whole subtrees, level by level, behind `after`.
    pub(crate) fn subtrees_after(
        &self,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<SubtreeKey>> {
        self.page(SUBTREES, after, limit, |key, _| {
            let (level, index) = key.split_first()?;
            Some((*level, u64::from_be_bytes(index.try_into().ok()?)))
        })
    }

    /// Returns at most `limit` rows of a table behind `after`, whether or not they match their
    /// checks.
    fn page<T>(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
        decode: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Page<T>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.range(table, (from, Bound::Unbounded), limit, |key, value| {
            Some((key.to_vec(), decode(key, value)))
        })
    }
}

fn subtree_key((level, index): SubtreeKey) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

fn wake(key: &[u8], value: &[u8]) -> Option<(Time, ObjectId)> {
    row::open(key, value)?;
    let (time, id) = key.split_first_chunk()?;
    Some((Time::from_millis(u64::from_be_bytes(*time)), ObjectId(id.try_into().ok()?)))
}

fn named(key: &[u8], value: &[u8]) -> Option<(String, NameRow)> {
    let row = NameRow::decode(row::open(key, value)?)?;
    Some((String::from_utf8(key.to_vec()).ok()?, row))
}

fn position(key: &[u8], value: &[u8]) -> Option<Position> {
    Some(Position(u64::from_le_bytes(row::open(key, value)?.try_into().ok()?)))
}

/// Calls redb, and converts its errors and its panics: it does not verify its pages when it reads
/// them and may meet bytes that it never wrote.
fn guard<T>(
    path: &Path,
    failure: &Failure,
    work: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| failed(path, failure, error)),
        Err(_) => Err(Error::from(ErrorKind::IndexDamaged("redb panicked".to_string())).at(path)),
    }
}

/// Converts a failure of redb: one of the file system, or a damaged index.
fn failed(path: &Path, failure: &Failure, error: redb::Error) -> Error {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    let error = match error {
        // An end that redb did not expect is one that damaged bytes led it beyond.
        redb::Error::Io(error) if !matches!(error.kind(), InvalidData | UnexpectedEof) => {
            Error::io("index", error)
        }
        redb::Error::PreviousIo => match failure.check() {
            Err(first) => Error::from(ErrorKind::Poisoned).because(first),
            Ok(()) if failure.had_no_room() => {
                ErrorKind::NoResources { operation: "read the index, until it is reopened" }.into()
            }
            // Nothing failed but a read that was led beyond the end.
            Ok(()) => ErrorKind::IndexDamaged("read beyond its end before".to_string()).into(),
        },
        redb::Error::DatabaseAlreadyOpen => ErrorKind::Locked.into(),
        error => ErrorKind::IndexDamaged(error.to_string()).into(),
    };
    error.at(path)
}

#[cfg(test)]
impl Index {
    /// Writes rows of objects that are none, under keys that may be no ids.
    pub(crate) fn put_keys(&self, keys: &[&[u8]]) {
        self.spoil(OBJECTS, keys);
    }

    /// Writes a rule of retention that does not match its check.
    pub(crate) fn spoil_retention(&self) {
        self.spoil(META, &[RETENTION]);
    }

    /// Makes the index one of another layout, whose covered end has this form.
    pub(crate) fn put_layout(&self, covered: impl FnOnce(&mut Vec<u8>)) {
        let mut value = Vec::new();
        value.put_u32(LAYOUT + 1);
        covered(&mut value);
        let transaction = self.database().begin_write().expect("nobody else writes");
        let mut rows = transaction.open_table(META).expect("it is there");
        rows.insert(COVERED, &row::close(COVERED, value)[..]).expect("there is room");
        drop(rows);
        transaction.commit().expect("there is room");
    }

    /// Writes rows that match no check.
    fn spoil(&self, table: Table, keys: &[&[u8]]) {
        let transaction = self.database().begin_write().expect("nobody else writes");
        let mut rows = transaction.open_table(table).expect("it is there");
        for key in keys {
            rows.insert(*key, &[1; 9][..]).expect("there is room");
        }
        drop(rows);
        transaction.commit().expect("there is room");
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::disk::local::LocalDisk;
    use crate::rows::heads::Entry;

    fn opened(directory: &TempDir, cache_bytes: usize) -> Index {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let path = directory.path().join("index.redb");
        Index::open(&disk, &path, cache_bytes, &|_| Ok(())).expect("it is whole").0
    }

    fn new() -> (TempDir, Index) {
        let directory = tempfile::tempdir().expect("a directory");
        let index = opened(&directory, 1 << 20);
        (directory, index)
    }

    fn write(index: &Index, rows: impl IntoIterator<Item = (ObjectId, Row)>) {
        let mut generation = Generation::default();
        for (id, row) in rows {
            generation.rows.insert(id, Entry { row: Arc::new(row), indexed_wake: None });
        }
        let covers = Tail { end: Position(1), last: Position(1), check: [0; 32] };
        index.write(&generation, covers, Some(&Sealed::default())).expect("it is written");
    }

    #[test]
    fn parts_of_the_same_key_are_told_apart() {
        let (_directory, index) = new();
        let of = |byte| Row { code: CodeHash([byte; 32]), ..super::sample::row(2) };
        // Others stand under the key of the first.
        let (key, others) = (Parts::of(&of(1)).key(), Parts::of(&of(9)));
        let transaction = index.database().begin_write().expect("a transaction");
        let value = row::close(&key, others.encode());
        let mut table = transaction.open_table(PARTS).expect("the table");
        table.insert(&key[..], &value[..]).expect("a row");
        drop(table);
        transaction.commit().expect("it is written");

        write(&index, [1, 2, 3].map(|byte| (ObjectId([byte; 32]), of(byte))));
        let reading = index.reading().expect("the index");
        for byte in [1, 2, 3, 1] {
            assert_eq!(reading.row(ObjectId([byte; 32])).expect("the index"), Some(of(byte)));
        }
        let listed = reading.list(None, 10).expect("the index");
        let codes: Vec<_> = listed.iter().map(|info| (info.id.0[0], info.code.0[0])).collect();
        assert_eq!(codes, [(1, 1), (2, 2), (3, 3)]);
    }

    /// Regression: after a read that damage led beyond the end of the file, the next one was
    /// reported as an earlier failed write.
    #[test]
    fn damage_that_leads_beyond_the_end_is_called_so_again_and_again() {
        let (directory, index) = new();
        let ids: Vec<ObjectId> = (0..50).map(|byte| ObjectId([byte; 32])).collect();
        write(&index, ids.iter().map(|id| (*id, super::sample::row(5))));
        drop(index);
        let index = opened(&directory, 0);
        // As if places in it led there.
        let file = std::fs::File::options().write(true).open(&index.path).expect("the file");
        file.set_len(8192).expect("it is cut");
        for id in &ids[..3] {
            let error = index.reading().and_then(|index| index.row(*id)).expect_err("it is cut");
            assert!(matches!(error.kind(), ErrorKind::IndexDamaged(_)), "{error:?}");
        }
    }
}
