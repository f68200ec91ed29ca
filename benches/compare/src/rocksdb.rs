//! RocksDB: an LSM tree in C++. A batch goes to its journal, which is synced with it;
//! flushes and compactions run in its own threads.

use std::path::Path;

use ::rocksdb::{BlockBasedOptions, Cache, ColumnFamily, DB, Options, WriteBatch, WriteOptions};
use anyhow::{Context, Result};

use crate::peer::{CACHE_BYTES, Peer, Rows};

pub(crate) struct RocksDb(DB);

impl RocksDb {
    pub(crate) fn open(directory: &Path) -> Result<Box<dyn Peer>> {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_block_based_table_factory(&blocks);
        // As its documentation advises for large values.
        let mut apart = options.clone();
        apart.set_enable_blob_files(true);
        let families =
            [("versions", options.clone()), ("pages", apart), ("heads", options.clone())];
        let database = DB::open_cf_with_opts(&options, directory.join("rocksdb"), families)?;
        Ok(Box::new(RocksDb(database)))
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily> {
        self.0.cf_handle(name).context("opened with it")
    }
}

impl Peer for RocksDb {
    fn commit(&mut self, group: &[Rows]) -> Result<()> {
        let [versions, pages, heads] =
            [self.family("versions")?, self.family("pages")?, self.family("heads")?];
        let mut batch = WriteBatch::default();
        for rows in group {
            batch.put_cf(versions, &rows.version_key[..], &rows.version[..]);
            batch.put_cf(pages, &rows.page_key[..], &rows.page[..]);
            batch.put_cf(heads, &rows.head_key[..], &rows.head[..]);
        }
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(self.0.write_opt(batch, &durable)?)
    }

    fn rest(&mut self) -> Result<()> {
        Ok(self.0.wait_for_compact(&::rocksdb::WaitForCompactOptions::default())?)
    }
}
