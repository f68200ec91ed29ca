//! The options with which a store is opened: its limits and sizes.
//!
//! This module does not know the uses of the sizes; each is documented by its effect.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::directory;
use crate::disk::directory::Access;
use crate::disk::file::Disk;
use crate::disk::local::LocalDisk;
use crate::error::Result;

/// Options of a store, with defaults for one small machine.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) existing: bool,
    pub(crate) read_only: bool,
    pub(crate) lock_wait: Duration,
    pub(crate) id: Option<[u8; 16]>,
    pub(crate) threads: bool,
    pub(crate) segment_bytes: u32,
    pub(crate) index_cache_bytes: usize,
    pub(crate) compact_index: bool,
    pub(crate) group_bytes_max: usize,
    pub(crate) recent_rows_max: usize,
    pub(crate) tail_bytes_max: u64,
    pub(crate) verify_bytes: u64,
    pub(crate) check_bytes_max: usize,
}

/// The smallest segment: a few ordinary frames.
const SEGMENT_BYTES_MIN: u32 = 64 << 10;
/// The largest: offsets in a segment are 32 bits.
const SEGMENT_BYTES_MAX: u32 = 1 << 30;

impl Default for Options {
    fn default() -> Options {
        Options {
            disk: Arc::new(LocalDisk),
            existing: false,
            read_only: false,
            lock_wait: Duration::ZERO,
            id: None,
            threads: true,
            segment_bytes: 64 << 20,
            index_cache_bytes: 64 << 20,
            compact_index: false,
            group_bytes_max: 32 << 20,
            recent_rows_max: 131_072,
            tail_bytes_max: 256 << 20,
            verify_bytes: 256 << 20,
            check_bytes_max: 256 << 20,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets whether opening fails when there is no database yet, rather than creating one. Default:
    /// no.
    pub fn existing(mut self, existing: bool) -> Options {
        self.existing = existing;
        self
    }

    /// Sets whether the database, which must exist, is opened for reading alone: every change fails
    /// with [`ReadOnly`](crate::ErrorKind::ReadOnly). Default: no.
    ///
    /// Nothing is written, so neither the right to write nor room on the disk is needed, and
    /// several processes may read one database; while one does, none opens it for writing. The part
    /// that the index lacks, after a crash or in a backup, which has none, is read from the log
    /// each time and kept in memory. A torn end of the log is skipped and stays; bytes that a
    /// killed process left in the system's cache are read although a power cut may still lose them.
    pub fn read_only(mut self, read_only: bool) -> Options {
        self.read_only = read_only;
        self
    }

    /// Returns whether the database is opened for reading alone.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Sets how long opening waits for another process that has the database open, before it fails
    /// with [`Locked`](crate::ErrorKind::Locked). While an opening waits to write, later ones to
    /// read wait behind it, so that readers that overlap do not keep it out. Default: not at all.
    pub fn lock_wait(mut self, wait: Duration) -> Options {
        self.lock_wait = wait;
        self
    }

    /// Returns the way to open the directory.
    pub(crate) fn access(&self) -> Access {
        Access { read_only: self.read_only, lock_wait: self.lock_wait }
    }

    /// Sets the id of a database that is created. Default: random, since it distinguishes the files
    /// of one database from those of another. With a given id the same work writes the same bytes.
    pub fn id(mut self, id: [u8; 16]) -> Options {
        self.id = Some(id);
        self
    }

    /// Sets whether the store has threads of its own, which write the log and the index. Default:
    /// yes. Without them, appends are written when a caller waits for them to be durable, reads
    /// them, appends more than [`group_bytes_max`](Options::group_bytes_max), or closes the store,
    /// and the index when an append finds it behind: all of it on that caller's thread, which also
    /// calls the callbacks of everything that becomes durable with it.
    pub fn threads(mut self, threads: bool) -> Options {
        self.threads = threads;
        self
    }

    /// Sets the disk of the files. Default: the file system.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Options {
        self.disk = disk;
        self
    }

    /// Sets the size of a full log segment, from 64 KiB to 1 GiB; a larger frame gets a segment of
    /// its own. The file of a segment begins small and grows: 1 MiB at first, then twice as much
    /// each time, or no more than is written where the disk has no room for that. Default: 64 MiB.
    pub fn segment_bytes(mut self, bytes: u32) -> Options {
        self.segment_bytes = bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        self
    }

    /// Bytes of cache of the index. Default: 64 MiB.
    pub fn index_cache_bytes(mut self, bytes: usize) -> Options {
        self.index_cache_bytes = bytes;
        self
    }

    /// Sets whether the index's file gives back its free space when the store is closed in order
    /// and dropped; that may be most of the file after many appends. It takes about five seconds
    /// for each GB of the file. Default: no.
    pub fn compact_index(mut self, compact: bool) -> Options {
        self.compact_index = compact;
        self
    }

    /// Bytes that wait for the disk above which appends wait too. Default: 32 MiB.
    pub fn group_bytes_max(mut self, bytes: usize) -> Options {
        self.group_bytes_max = bytes.max(1);
        self
    }

    /// Sets the number of rows in memory above which the index is written: those that appends
    /// touched since the last write, about 1 KB each and at most some 4. While it is written as
    /// many more may come, and as many older ones are kept, so that an append to one of them reads
    /// nothing. With the rows being written that makes five times as many at most, and 80 MiB for
    /// the page tables of large memories. Default: 131,072.
    pub fn recent_rows_max(mut self, count: usize) -> Options {
        self.recent_rows_max = count.max(1);
        self
    }

    /// Sets the bytes of log behind the index above which the index is written: an open after a
    /// crash reads that much. Default: 256 MiB.
    pub fn tail_bytes_max(mut self, bytes: u64) -> Options {
        self.tail_bytes_max = bytes.max(1);
        self
    }

    /// Sets how many bytes of an existing backup the next one into it reads and verifies, at least
    /// a segment, continuing where the one before ended. Default: 256 MiB.
    pub fn verify_bytes(mut self, bytes: u64) -> Options {
        self.verify_bytes = bytes;
        self
    }

    /// Sets how many bytes about objects a [check](crate::Store::check) holds, about 1 KB for each:
    /// it compares as many objects with the index as fit, and reads the log again for the next
    /// ones. Default: 256 MiB.
    pub fn check_bytes_max(mut self, bytes: usize) -> Options {
        self.check_bytes_max = bytes.max(1);
        self
    }

    /// Returns the bytes that the file system holds for all files of the database in `path`,
    /// whether it is open or not.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn bytes_on_disk(&self, path: impl AsRef<Path>) -> Result<u64> {
        directory::bytes_on_disk(&*self.disk, path.as_ref())
    }
}
