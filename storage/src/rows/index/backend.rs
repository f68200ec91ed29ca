//! The backend of redb: the index's file on the store's own disk, like every other.
//!
//! A read for which the host had no resources is tried again, because redb gives up after a failed
//! read; one that still fails ends the index, but not the store.
//!
//! The backend remembers the first failure. Redb hides some, such as that of a write that only
//! makes room in its cache, and after any the store must acknowledge nothing more. This module does
//! not know what redb writes. Redb needs no locks: the process that opened the store has locked the
//! directory's marker.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::disk::file::DiskFile;
use crate::error::{Error, Result};

/// The first failure of a file, if there was one.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure {
    first: Arc<OnceLock<Error>>,
    no_room: Arc<AtomicBool>,
}

/// The number of tries of a read for which the host has no resources.
const READS_MAX: usize = 4;

fn is_of_resources(error: &io::Error) -> bool {
    let same = error.raw_os_error().map(io::Error::from_raw_os_error);
    same.is_some_and(|same| Error::io("read", same).is_of_resources())
}

impl Failure {
    /// Checks that nothing has failed.
    pub(super) fn check(&self) -> Result<()> {
        self.first.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Reads; a lack of the host's resources is no failure of the disk.
    fn heed_read<T>(&self, read: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let mut done = read();
        for _ in 1..READS_MAX {
            match &done {
                Err(error) if is_of_resources(error) => done = read(),
                _ => break,
            }
        }
        match done {
            Err(error) if is_of_resources(&error) => {
                self.no_room.store(true, Ordering::Relaxed);
                Err(error)
            }
            done => self.heed("read", done),
        }
    }

    /// Returns whether the host had no resources for a read.
    pub(super) fn had_no_room(&self) -> bool {
        self.no_room.load(Ordering::Relaxed)
    }

    fn heed<T>(&self, operation: &'static str, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            let same = io::Error::new(error.kind(), error.to_string());
            self.first.get_or_init(|| Error::io(operation, same));
        })
    }
}

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) failure: Failure,
}

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.failure.heed_read(|| self.file.length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let out = std::cell::RefCell::new(out);
        let read = || {
            let mut out = out.borrow_mut();
            Ok((self.file.read_up_to(&mut out, offset)?, out.len()))
        };
        match self.failure.heed_read(read)? {
            (count, wanted) if count == wanted => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.failure.heed("resize", self.file.set_length(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.failure.heed("sync", self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.failure.heed("write", self.file.write_all_at(data, offset))
    }
}

#[cfg(test)]
mod tests {
    use object::hash::ObjectId;

    use super::*;
    use crate::error::ErrorKind;
    use crate::store::Store;

    /// Regression: the failure of a write that makes room while redb reads was noticed only at the
    /// next write of the index, and commits were acknowledged until then.
    #[test]
    fn a_failure_that_redb_lets_pass_while_it_reads_ends_the_store() {
        let directory = tempfile::tempdir().expect("there is room for it");
        let store = Store::open(directory.path().join("db")).expect("it opens");
        store.sync().expect("nothing failed");
        let failed: io::Result<()> = Err(io::Error::other("injected"));
        assert!(store.inner().index.failure.heed("write", failed).is_err());
        let read = store.info(ObjectId([7; 32])).expect("what is read is there");
        assert!(read.is_none());
        let error = store.sync().expect_err("something failed");
        assert_eq!(*error.kind(), ErrorKind::Poisoned);
    }
}
