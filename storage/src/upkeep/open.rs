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
        let validated = |tail| recovery::validate_index(&directory, tail);
        let (index, covered) = match options.read_only {
            true => Index::open_to_read(disk, &directory.index(), cache, &validated)?,
            false => Index::open(disk, &directory.index(), cache, &validated)?,
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
            evidence: recovered.evidence,
            covered: covered.map(|covered| covered.end),
            tail_bytes: recovered.tail_bytes,
            directory,
        };
        Store::start(opened, threads)
    }
}

#[cfg(test)]
mod tests {
    use object::codec::Write;

    use super::*;
    use crate::disk::file::Disk;
    use crate::disk::local::LocalDisk;
    use crate::log::segment::Tail;
    use crate::rows::index::Covered;

    /// Opens the index of a database as it is.
    fn index(path: &Path) -> (Index, Covered) {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        Index::open_as_it_is(&disk, &path.join("index.redb"), 1 << 20).expect("an index")
    }

    fn outboxes(store: &Store) -> usize {
        store.outboxes().len()
    }

    /// An index of another program is a cache too, whose end still shows whether the log is whole.
    #[test]
    fn an_index_of_another_layout_is_rebuilt_once_the_log_has_what_it_covers() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let store = Store::open(path).expect("it opens");
        for name in ["one", "two"] {
            drop(store.create_outbox(name).expect("an outbox"));
        }
        let tail = store.inner().log.tail();
        store.close().expect("it is closed");
        drop(store);
        let whole = |value: &mut Vec<u8>| {
            let Tail { end, last, check } = tail;
            value.put_u64(end.0).put_u64(last.0).put(&check);
        };
        let other = |value: &mut Vec<u8>| value.extend_from_slice(b"other");
        for is_readable in [true, false] {
            let (index, covered) = index(path);
            assert!(matches!(covered, Covered::Until(found) if found == tail), "{is_readable}");
            match is_readable {
                true => index.put_layout(whole),
                false => index.put_layout(other),
            }
            drop(index);
            let read = Options::new().read_only(true).open(path).expect("it opens");
            assert_eq!(outboxes(&read), 2);
            drop(read);
            let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
            let found = Index::covered_in(&disk, &path.join("index.redb")).expect("an index");
            assert_eq!(found, is_readable.then_some(tail));
            let store = Store::open(path).expect("it opens");
            assert_eq!(outboxes(&store), 2);
            store.close().expect("it is closed");
            drop(store);
        }
        index(path).0.put_layout(whole);
        let log = std::fs::File::options().write(true).open(path.join("log/00000001.log"));
        log.and_then(|log| log.set_len(tail.last.offset().into())).expect("the log is cut");
        for read_only in [true, false] {
            let error = Options::new().read_only(read_only).open(path).expect_err("it is cut");
            assert!(matches!(error.kind(), ErrorKind::LogBehind { .. }), "{error}");
        }
        let error = Options::new().repair(path, None, |_, _| {}).expect_err("it is cut");
        assert!(matches!(error.kind(), ErrorKind::Lost(_)), "{error}");
    }
}
