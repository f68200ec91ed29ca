//! The index's file as redb asks for it: on the store's own disk, like every other.
//!
//! It remembers the first failure: redb lets some pass, such as of a write that only makes room in
//! its cache, and after any the store is to acknowledge nothing more. It does not know what redb
//! writes. Locks are not redb's concern here: the directory's marker is locked by whoever opened
//! the store.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::disk::DiskFile;
use crate::error::{Error, Result};

/// The first failure of a file, if there was one.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<OnceLock<Error>>);

impl Failure {
    /// That nothing has failed.
    pub(super) fn check(&self) -> Result<()> {
        self.0.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn heed<T>(&self, operation: &'static str, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            let same = io::Error::new(error.kind(), error.to_string());
            self.0.get_or_init(|| Error::io(operation, same));
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
        self.failure.heed("read", self.file.length())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.failure.heed("read", self.file.read_up_to(out, offset))? {
            count if count == out.len() => Ok(()),
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

    /// One of a write that makes room while redb reads was not looked for before the next write of
    /// the index, and commits were acknowledged until then.
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
