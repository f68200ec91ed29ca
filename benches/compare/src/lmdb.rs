//! LMDB, through heed: a copy-on-write B-tree in a memory map. Its transactions are synced by
//! default. It has no cache of its own: its cache is the kernel's.

use std::fs;
use std::path::Path;

use anyhow::Result;
use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions};

use crate::peer::{Peer, Rows};

/// Addresses, not memory.
const MAP_BYTES: usize = 64 << 30;

type Table = Database<'static, Bytes, Bytes>;

pub(crate) struct Lmdb {
    env: Env,
    versions: Table,
    pages: Table,
    heads: Table,
}

impl Lmdb {
    pub(crate) fn open(directory: &Path) -> Result<Box<dyn Peer>> {
        let path = directory.join("lmdb");
        fs::create_dir(&path)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_dbs(3);
        // SAFETY: the file is in a new directory that nobody else knows, and is removed after the
        // environment is closed.
        let env = unsafe { options.open(&path)? };
        let tables = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
            let mut table = |name| opener.create_database(transaction, Some(name));
            let tables = (table("versions")?, table("pages")?, table("heads")?);
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(tables))
        })?;
        let (versions, pages, heads) = tables.unwrap_commit();
        Ok(Box::new(Lmdb { env, versions, pages, heads }))
    }
}

impl Peer for Lmdb {
    fn commit(&mut self, group: &[Rows]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for rows in group {
            self.versions.put(&mut transaction, &rows.version_key, &rows.version)?;
        }
        for rows in group {
            self.pages.put(&mut transaction, &rows.page_key, &rows.page)?;
        }
        for rows in group {
            self.heads.put(&mut transaction, &rows.head_key, &rows.head)?;
        }
        Ok(transaction.commit()?)
    }
}
