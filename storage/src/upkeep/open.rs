//! Opening a store: its directory, its index, and the log behind that.
//!
//! This module does not know recovery.
//!
//! Invariant: nothing is written before the directory is locked.

use std::path::Path;
use std::sync::Arc;

use crate::disk::directory::{Directory, temporary};
use crate::error::{Error, ErrorKind, Result};
use crate::log::writer::Sizes;
use crate::log::{GATHER_FRAMES_MIN, Log, Writes};
use crate::options::Options;
use crate::rows::index::Index;
use crate::store::{Opened, Store};
use crate::upkeep::backup::witness;
use crate::upkeep::recovery;

impl Options {
    /// Opens the store in the directory `path`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// [`NotADatabase`](crate::ErrorKind::NotADatabase), [`Locked`](crate::ErrorKind::Locked),
    /// [`OldFormat`](crate::ErrorKind::OldFormat),
    /// [`NewerFormat`](crate::ErrorKind::NewerFormat), [`Damaged`](crate::ErrorKind::Damaged),
    /// [`IndexDamaged`](crate::ErrorKind::IndexDamaged), [`IsBackup`](crate::ErrorKind::IsBackup)
    /// unless it is opened for reading alone, [`Unfinished`](crate::ErrorKind::Unfinished), and
    /// those of the file system.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        Store::open_with(path.as_ref(), self)
    }
}

impl Store {
    /// Opens the store in the directory `path` with the default options; creates it if it is
    /// missing.
    ///
    /// # Errors
    ///
    /// Those of [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        Options::new().open(path)
    }

    fn open_with(path: &Path, options: Options) -> Result<Store> {
        let disk = Arc::clone(&options.disk);
        let access = options.access();
        let directory = match options.existing || options.read_only {
            true => Directory::open_as(disk, path, access)?,
            false => Directory::open_or_create(disk, path, options.id, access, &|log, id| {
                recovery::begin_log(&options, log, id)
            })?,
        };
        if !options.read_only {
            if witness::is_backup(directory.disk(), path, Some(directory.id()))? {
                return Err(Error::from(ErrorKind::IsBackup).at(path));
            }
            // Left over of a first backup that was cut short, where something was restored since.
            directory.remove(&temporary(&directory.witness()))?;
        }
        let (disk, cache) = (directory.disk(), options.index_cache_bytes);
        let (index, covered) = match options.read_only {
            true => Index::open_to_read(disk, &directory.index(), cache)?,
            false => Index::open(disk, &directory.index(), cache)?,
        };
        let recovered = recovery::recover(&directory, &index, covered, &options)?;
        let sizes = Sizes {
            segment_bytes: options.segment_bytes,
            group_bytes_max: options.group_bytes_max,
            gather_frames_min: GATHER_FRAMES_MIN,
        };
        let (writes, threads) = match options.threads {
            _ if options.read_only => (Writes::Nobody, false),
            true => (Writes::Committer, true),
            false => (Writes::Caller, false),
        };
        let (segments, tail) = (recovered.segments, recovered.tail);
        let log = Log::start(segments, tail, sizes, writes)?;
        let opened = Opened {
            log,
            index,
            options,
            heads: recovered.heads,
            covered: covered.map(|covered| covered.end),
            tail_bytes: recovered.tail_bytes,
            directory,
        };
        Store::start(opened, threads)
    }
}
