//! fjall: an LSM tree. Its batches go to a journal, synced when a batch says so; flushes and
//! compactions run in its own threads.

use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use anyhow::Result;

use crate::peer::{CACHE_BYTES, Peer, Rows};

pub(crate) struct Fjall {
    database: Database,
    versions: Keyspace,
    pages: Keyspace,
    heads: Keyspace,
}

impl Fjall {
    pub(crate) fn open(directory: &Path) -> Result<Box<dyn Peer>> {
        let builder = Database::builder(directory.join("fjall"));
        let database = builder.cache_size(CACHE_BYTES as u64).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (versions, heads) = (keyspace("versions")?, keyspace("heads")?);
        // As its documentation advises for large values.
        let apart = || {
            KeyspaceCreateOptions::default()
                .with_kv_separation(Some(KvSeparationOptions::default()))
        };
        let pages = database.keyspace("pages", apart)?;
        Ok(Box::new(Fjall { database, versions, pages, heads }))
    }
}

impl Peer for Fjall {
    fn commit(&mut self, group: &[Rows]) -> Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for rows in group {
            batch.insert(&self.versions, &rows.version_key[..], &rows.version[..]);
            batch.insert(&self.pages, &rows.page_key[..], &rows.page[..]);
            batch.insert(&self.heads, &rows.head_key[..], &rows.head[..]);
        }
        Ok(batch.commit()?)
    }

    fn rest(&mut self) -> Result<()> {
        while self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0 {
            std::thread::yield_now();
        }
        Ok(())
    }
}
