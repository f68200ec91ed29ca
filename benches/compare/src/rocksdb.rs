//! RocksDB: an LSM tree in C++. Its batches go to a journal, synced when a write says so; what
//! follows happens in threads of its own.

use std::path::Path;

use ::rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, Options,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use anyhow::{Context, Result};

use crate::peer::{CACHE_BYTES, Peer, Rows};

const FAMILIES: [&str; 3] = ["versions", "pages", "heads"];

pub(crate) struct Rocks(DB);

impl Rocks {
    pub(crate) fn open(directory: &Path) -> Result<Box<dyn Peer>> {
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let families = FAMILIES.map(|name| {
            let mut blocks = BlockBasedOptions::default();
            blocks.set_block_cache(&cache);
            let mut options = Options::default();
            options.set_block_based_table_factory(&blocks);
            ColumnFamilyDescriptor::new(name, options)
        });
        let database = DB::open_cf_descriptors(&options, directory.join("rocksdb"), families)?;
        Ok(Box::new(Rocks(database)))
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.0.cf_handle(name).context("the family was made at open")
    }
}

impl Peer for Rocks {
    fn commit(&mut self, group: &[Rows]) -> Result<()> {
        let (versions, pages) = (self.family("versions")?, self.family("pages")?);
        let heads = self.family("heads")?;
        let mut batch = WriteBatch::default();
        for rows in group {
            batch.put_cf(versions, rows.version_key, &rows.version);
            batch.put_cf(pages, rows.page_key, &rows.page);
            batch.put_cf(heads, rows.head_key, rows.head);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.0.write_opt(batch, &options)?)
    }

    fn rest(&mut self) -> Result<()> {
        Ok(self.0.wait_for_compact(&WaitForCompactOptions::default())?)
    }
}
