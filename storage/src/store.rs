//! The store: the object that appends and reads go through.
//!
//! It holds log, index and rows together, and writes the index behind the log. It does not know how
//! a store is opened, nor the content of appends; its other operations stand in `read`, `write` and
//! `upkeep`.
//!
//! Invariant: an append whose callback reported success is there after any crash.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash};
use object::image::BaseImage;

use crate::disk::directory::Directory;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{Condvar, Mutex, rank};
use crate::log::Log;
use crate::log::figures::Figures;
use crate::log::frame::{Frames, damaged};
use crate::options::Options;
use crate::record::loss::RecordedLoss;
use crate::record::{BlobHash, Record, records};
use crate::rows::evidence::Evidence;
use crate::rows::heads::{Heads, PAGES_KEPT_MAX};
use crate::rows::index::{Index, Reading};
use crate::rows::ledgers::Ledgers;
use crate::rows::pages::PageTable;
use crate::rows::row::Row;
use crate::rows::row_cache::RowCache;

/// Figures of a store.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Bytes that the file system holds for all files.
    pub bytes_on_disk: u64,
    /// Segments of the log.
    pub segment_count: u64,
    /// All before is durable.
    pub durable: Position,
    /// Groups written since the store was opened.
    pub group_count: u64,
    /// Frames written since the store was opened.
    pub frame_count: u64,
    /// Frames in the largest of these groups.
    pub group_frames_max: u64,
}

/// A store of objects: share it by reference or in an `Arc`. Dropping it closes it.
#[derive(Debug)]
pub struct Store {
    inner: Arc<Inner>,
    indexer: Mutex<Indexer, rank::Indexer>,
}

/// The writer of the index behind the log.
#[derive(Debug, Default)]
enum Indexer {
    Thread(JoinHandle<()>),
    /// The appending thread.
    None,
    /// Nobody any more: the store is closed.
    #[default]
    Closed,
}

/// The state that the threads of one store share.
///
/// Invariant: the directory, which is locked, is dropped last: until then log and index may write.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) options: Options,
    /// Invariant: frames of an open store are pushed to the log under this lock, by `write/push.rs`
    /// alone, which changes the rows as the frame says: so rows and log agree.
    pub(crate) heads: Mutex<Heads, rank::Heads>,
    pub(crate) evidence: Mutex<Evidence, rank::Evidence>,
    row_cache: Mutex<RowCache, rank::RowCache>,
    /// The end that the index covers; locked while the index is written.
    covered: Mutex<Option<Position>, rank::Covered>,
    /// Bytes pushed to the log since the index was last written.
    pub(crate) tail_bytes: AtomicU64,
    /// Locked during an import: staged records of one object must not mix.
    pub(crate) importing: Mutex<(), rank::Importing>,
    /// Locked while segments are replaced by packs.
    pub(crate) compacting: Mutex<(), rank::Compacting>,
    bases: Mutex<HashMap<BaseHash, Weak<BaseImage>>, rank::Bases>,
    request: Mutex<Request, rank::Request>,
    requested: Condvar,
    pub(crate) directory: Directory,
}

/// The parts of a store that opening it produced.
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) index: Index,
    pub(crate) options: Options,
    pub(crate) heads: Heads,
    pub(crate) evidence: Evidence,
    /// The end that the index covers.
    pub(crate) covered: Option<Position>,
    /// Bytes of log behind it.
    pub(crate) tail_bytes: u64,
    pub(crate) directory: Directory,
}

/// The next task of the indexer's thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Request {
    #[default]
    Nothing,
    Write,
    Stop,
}

impl Store {
    /// Starts an opened store, with threads of its own, or without.
    pub(crate) fn start(opened: Opened, threads: bool) -> Result<Store> {
        let Opened { log, index, options, heads, evidence, covered, tail_bytes, directory } =
            opened;
        let is_durable = covered.is_none_or(|covered| covered <= log.durable());
        assert!(is_durable, "the index covers only what is durable");
        if cfg!(debug_assertions) {
            heads.check_invariants();
        }
        let inner = Arc::new(Inner {
            log,
            index,
            options,
            heads: Mutex::new(heads),
            evidence: Mutex::new(evidence),
            row_cache: Mutex::default(),
            covered: Mutex::new(covered),
            tail_bytes: AtomicU64::new(tail_bytes),
            importing: Mutex::default(),
            compacting: Mutex::default(),
            bases: Mutex::default(),
            request: Mutex::default(),
            requested: Condvar::new(),
            directory,
        });
        let indexer = match threads {
            true => Indexer::Thread(start_indexer(&inner)?),
            false => Indexer::None,
        };
        Ok(Store { inner, indexer: Mutex::new(indexer) })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Waits until all appends so far are durable, and their callbacks have been called. While the
    /// log's own thread has nothing to do, this one writes and syncs them, and calls the callbacks.
    ///
    /// # Errors
    ///
    /// [`Poisoned`](crate::ErrorKind::Poisoned) when they cannot become durable,
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn sync(&self) -> Result<()> {
        let committed = self.inner.log.commit();
        self.inner.log.health().and(committed)
    }

    /// Writes the index now.
    ///
    /// # Errors
    ///
    /// Those of [`Store::sync`], and the index's own.
    pub fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint()
    }

    /// Returns a module, by the hash of its bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn code(&self, hash: CodeHash) -> Result<Option<Vec<u8>>> {
        self.inner.blob(BlobHash::Code(hash))
    }

    /// Returns the stored codes whose hashes are from `first` to `last`, ascending, at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn codes(&self, first: CodeHash, last: CodeHash, limit: usize) -> Result<Vec<CodeHash>> {
        // Memory first, as in a list.
        let unwritten = self.inner().heads.lock().codes();
        let indexed = self.inner().indexed(|index| index.codes(first, last, limit))?;
        let unwritten = unwritten.into_iter().filter(|code| (first..=last).contains(code));
        let all: BTreeSet<CodeHash> = indexed.into_iter().chain(unwritten).collect();
        Ok(all.into_iter().take(limit).collect())
    }

    /// Returns whether a module, a policy or a base image is here.
    ///
    /// # Errors
    ///
    /// As of [`Store::code`].
    pub fn has(&self, blob: BlobHash) -> Result<bool> {
        Ok(self.inner.blob_position(blob)?.is_some())
    }

    /// A policy's encoding.
    ///
    /// # Errors
    ///
    /// As of [`Store::code`].
    pub fn policy(&self, hash: PolicyHash) -> Result<Option<Vec<u8>>> {
        self.inner.blob(BlobHash::Policy(hash))
    }

    /// A base image; all that hold one hold the same.
    ///
    /// # Errors
    ///
    /// As of [`Store::code`].
    pub fn base(&self, hash: BaseHash) -> Result<Option<Arc<BaseImage>>> {
        self.inner.base(hash)
    }

    /// Returns the accepted losses of the log, oldest first.
    pub fn losses(&self) -> Vec<RecordedLoss> {
        self.inner.heads.lock().losses().to_vec()
    }

    /// Returns figures of the store.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn stats(&self) -> Result<Stats> {
        let figures = self.inner.log.figures();
        Ok(Stats {
            bytes_on_disk: self.inner.heed(self.inner.directory.bytes_on_disk())?,
            segment_count: self.inner.heed(self.inner.log.segments().numbers())?.len() as u64,
            durable: self.inner.log.durable(),
            group_count: figures.group_count,
            frame_count: figures.frame_count,
            group_frames_max: figures.group_frames_max,
        })
    }

    /// Asserts what always holds of what is in memory, whatever was done before: for fuzzing, and
    /// where it is too dear to do so after each operation.
    ///
    /// # Panics
    ///
    /// When something does not hold, which is a fault of this crate.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.inner.check_invariants();
    }

    /// Figures of the log, from memory alone.
    pub fn figures(&self) -> Figures {
        self.inner.log.figures()
    }

    /// Returns the bytes of frames that the index does not cover, once the present flush is done:
    /// about as much as opening the store would read again.
    pub fn unindexed_bytes(&self) -> u64 {
        self.inner.tail_bytes.load(Ordering::Relaxed)
    }

    /// Makes everything durable, writes the index, and closes; later calls fail with
    /// [`Closed`](crate::ErrorKind::Closed). Closing again does nothing. The directory stays locked
    /// until the store is dropped.
    ///
    /// # Errors
    ///
    /// [`UncleanClose`](crate::ErrorKind::UncleanClose) when all that was appended is durable, and
    /// the index could not be written; [`Removed`](crate::ErrorKind::Removed). With another error
    /// the appends that were not acknowledged may not be durable; those that were are.
    pub fn close(&self) -> Result<()> {
        let joined = match std::mem::take(&mut *self.indexer.lock()) {
            Indexer::Closed => return Ok(()),
            Indexer::None => Ok(()),
            Indexer::Thread(thread) => {
                self.inner.request(Request::Stop);
                let panicked = |_| std::io::Error::other("it panicked");
                let joined = thread.join().map_err(panicked);
                joined.map_err(|error| Error::io("the indexer's thread", error))
            }
        };
        let written = self.inner.checkpoint();
        // A store that is dropped because an assert failed must not fail once more.
        if cfg!(debug_assertions) && !std::thread::panicking() {
            self.inner.check_invariants();
        }
        // Even after a failure, nothing may be written once the lock is released.
        let closed = self.inner.log.close();
        if self.inner.is_removed() {
            return Err(Error::from(ErrorKind::Removed).at(self.inner.directory.path()));
        }
        joined.and(written).and(closed).map_err(|error| self.inner.unclean(error))?;
        if self.inner.options.compact_index && !self.inner.options.read_only {
            self.inner.index.compact_when_dropped();
        }
        Ok(())
    }
}

fn start_indexer(inner: &Arc<Inner>) -> Result<JoinHandle<()>> {
    let inner = Arc::clone(inner);
    std::thread::Builder::new()
        .name("continuant-index".to_string())
        .spawn(move || inner.write_behind())
        .map_err(|error| Error::io("start the indexer's thread", error))
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the store");
        }
    }
}

/// A row, and where it was found.
pub(crate) struct FoundRow {
    pub(crate) row: Arc<Row>,
    /// The epoch of the heads that did not have it, when it is the index's.
    pub(crate) indexed_in: Option<u64>,
}

impl Inner {
    fn request(&self, request: Request) {
        *self.request.lock() = request;
        self.requested.notify_one();
    }

    /// Returns how far the index is behind, relative to its limit: above 1 it is written soon,
    /// above 2 appends wait for it.
    fn behind(&self, recent_count: usize) -> f64 {
        let bytes = self.tail_bytes.load(Ordering::Relaxed) as f64;
        let rows = recent_count as f64 / self.options.recent_rows_max as f64;
        rows.max(bytes / self.options.tail_bytes_max as f64)
    }

    /// Has the index written when it is behind; waits for that when it is far behind. Writes it
    /// here when no thread does that.
    pub(crate) fn relieve(&self, recent_count: usize) -> Result<()> {
        let behind = self.behind(recent_count);
        let here = if self.options.threads { 2.0 } else { 1.0 };
        if behind > here {
            self.checkpoint_when(|heads| self.behind(heads.recent_count()) > here)?;
        } else if behind > 1.0 {
            let mut request = self.request.lock();
            if *request == Request::Nothing {
                *request = Request::Write;
                self.requested.notify_one();
            }
        }
        Ok(())
    }

    /// The indexer's thread: writes the index when asked to, until it fails or is to stop.
    fn write_behind(&self) {
        loop {
            let mut request = self.request.lock();
            while *request == Request::Nothing {
                self.requested.wait(&mut request);
            }
            match *request {
                Request::Stop => return,
                _ => *request = Request::Nothing,
            }
            drop(request);
            if let Err(error) = self.checkpoint() {
                tracing::error!(%error, "the index is written no more");
                return;
            }
        }
    }

    /// Writes the index up to the end of the log.
    fn checkpoint(&self) -> Result<()> {
        self.checkpoint_when(|_| true)
    }

    /// Writes the index up to the end of the log if it is `wanted` once nobody else does so.
    fn checkpoint_when(&self, wanted: impl FnOnce(&Heads) -> bool) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        let mut covered = self.covered.lock();
        self.log.health()?;
        let mut evidence = self.evidence.lock();
        let mut heads = self.heads.lock();
        let tail = self.log.tail();
        let is_written = *covered == Some(tail.end) && heads.is_written();
        if is_written || !wanted(&heads) {
            return Ok(());
        }
        let (generation, let_go) = heads.begin_flush();
        let leaves = heads.take_leaves();
        self.tail_bytes.store(0, Ordering::Relaxed);
        drop(heads);
        drop(let_go);
        evidence.take(leaves);
        evidence.seal(tail.end);
        drop(evidence);
        self.log.wait_durable(tail.end)?;
        let sealed = self.evidence.lock().sealed();
        let written = self.index.write(&generation, tail, Some(&sealed));
        written.inspect_err(|error| self.log.poison(error))?;
        self.heads.lock().end_flush();
        self.evidence.lock().end_flush();
        assert!(self.log.durable() >= tail.end, "the index covers what is durable");
        assert!(covered.is_none_or(|before| before <= tail.end), "the index covers more and more");
        *covered = Some(tail.end);
        Ok(())
    }

    /// Returns whether all that was appended is durable.
    fn is_durable(&self) -> bool {
        let (durable, tail) = (self.log.durable(), self.log.tail());
        assert!(durable <= tail.end, "what is durable was appended");
        durable == tail.end
    }

    /// Returns whether durable files are gone from the directory, as far as the disk tells.
    fn is_removed(&self) -> bool {
        if self.options.read_only || !self.is_durable() {
            return false;
        }
        let last = self.log.tail().last;
        let exists = || self.log.segments().exists(last.segment());
        let is_log_gone = || last != Position::NONE && exists().is_ok_and(|is_there| !is_there);
        self.directory.is_gone() || is_log_gone()
    }

    /// Returns the error of closing, which is about the index alone if all is durable.
    fn unclean(&self, error: Error) -> Error {
        assert!(*error.kind() != ErrorKind::UncleanClose, "a store is closed once");
        match self.is_durable() {
            true => Error::from(ErrorKind::UncleanClose).because(error),
            false => error,
        }
    }

    /// Asserts what always holds of what is in memory.
    fn check_invariants(&self) {
        let covered = *self.covered.lock();
        self.evidence.lock().check_invariants();
        self.heads.lock().check_invariants();
        self.log.check_invariants();
        let is_durable = covered.is_none_or(|covered| covered <= self.log.durable());
        assert!(is_durable, "the index covers only what is durable");
    }

    /// Reads the present index.
    pub(crate) fn indexed<T>(&self, read: impl FnOnce(&Reading<'_>) -> Result<T>) -> Result<T> {
        let done = self.heed(self.index.reading().and_then(|index| read(&index)));
        // The row that was read may be there although something failed meanwhile.
        drop(self.heed(self.index.health()));
        done
    }

    /// Passes a result on; after a failure of the file system the store acknowledges nothing more.
    pub(crate) fn heed<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            if error.is_of_file_system() {
                self.log.poison(error);
            }
        })
    }

    /// Returns the place of a blob, when the store has it.
    pub(crate) fn blob_position(&self, hash: BlobHash) -> Result<Option<Position>> {
        let known = self.heads.lock().blob(&hash);
        match known {
            Some(position) => Ok(Some(position)),
            None => self.indexed(|index| index.blob(hash)),
        }
    }

    pub(crate) fn blob(&self, hash: BlobHash) -> Result<Option<Vec<u8>>> {
        let Some(position) = self.blob_position(hash)? else { return Ok(None) };
        let frame = self.log.frame(position)?;
        for record in records(&frame.body) {
            match record? {
                Record::Blob(blob) if blob.hash() == hash => return Ok(Some(blob.bytes.to_vec())),
                _ => {}
            }
        }
        Err(damaged(position, format!("{hash:?}"), "a frame without it"))
    }

    pub(crate) fn base(&self, hash: BaseHash) -> Result<Option<Arc<BaseImage>>> {
        if let Some(base) = self.bases.lock().get(&hash).and_then(Weak::upgrade) {
            return Ok(Some(base));
        }
        let Some(bytes) = self.blob(BlobHash::Base(hash))? else { return Ok(None) };
        let base = Arc::new(BaseImage::decode(&bytes)?);
        let mut bases = self.bases.lock();
        if let Some(other) = bases.get(&hash).and_then(Weak::upgrade) {
            return Ok(Some(other));
        }
        bases.retain(|_, base| base.strong_count() > 0);
        bases.insert(hash, Arc::downgrade(&base));
        Ok(Some(base))
    }

    /// The row of an object.
    pub(crate) fn row(&self, id: ObjectId) -> Result<Option<Arc<Row>>> {
        Ok(self.find_row(id)?.map(|found| found.row))
    }

    /// The row of an object, and where it was.
    pub(crate) fn find_row(&self, id: ObjectId) -> Result<Option<FoundRow>> {
        let (known, epoch) = {
            let heads = self.heads.lock();
            (heads.row(&id).cloned(), heads.epoch())
        };
        if let Some(row) = known {
            return Ok(Some(FoundRow { row, indexed_in: None }));
        }
        let cached = self.row_cache.lock().find(epoch, id);
        let row = match cached {
            Some(row) => row,
            None => {
                let Some(row) = self.indexed(|index| index.row(id))? else { return Ok(None) };
                let row = Arc::new(row);
                self.row_cache.lock().put(epoch, id, Arc::clone(&row));
                row
            }
        };
        Ok(Some(FoundRow { row, indexed_in: Some(epoch) }))
    }

    /// Remembers where the pages and the ledgers are of a row that was found in the index, if they
    /// are few.
    pub(crate) fn know_places(
        &self,
        id: ObjectId,
        found: &FoundRow,
        pages: &PageTable,
        ledgers: Ledgers,
    ) {
        if let (Some(epoch), None) = (found.indexed_in, &found.row.pages)
            && pages.count() <= PAGES_KEPT_MAX
        {
            let (pages, ledgers) = (Some(pages.clone()), ledgers.remembered());
            let row = Row { pages, ledgers, ..Row::clone(&found.row) };
            self.row_cache.lock().put(epoch, id, Arc::new(row));
        }
    }

    /// The row of an object that there must be.
    pub(crate) fn require_row(&self, id: ObjectId) -> Result<Arc<Row>> {
        self.row(id)?.ok_or_else(|| Error::not_found("object", id))
    }
}
