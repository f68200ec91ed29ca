//! redb: a copy-on-write B-tree in one file. Its transactions are durable by default, in one phase.

use std::path::Path;

use ::redb::{Database, TableDefinition};
use anyhow::Result;

use crate::peer::{CACHE_BYTES, Peer, Rows};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const VERSIONS: Table = Table::new("versions");
const PAGES: Table = Table::new("pages");
const HEADS: Table = Table::new("heads");

pub(crate) struct Redb(Database);

impl Redb {
    pub(crate) fn open(directory: &Path) -> Result<Box<dyn Peer>> {
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE_BYTES).create(directory.join("redb"))?;
        Ok(Box::new(Redb(database)))
    }
}

impl Peer for Redb {
    fn commit(&mut self, group: &[Rows]) -> Result<()> {
        let transaction = self.0.begin_write()?;
        {
            let mut versions = transaction.open_table(VERSIONS)?;
            for rows in group {
                versions.insert(&rows.version_key[..], &rows.version[..])?;
            }
            let mut pages = transaction.open_table(PAGES)?;
            for rows in group {
                pages.insert(&rows.page_key[..], &rows.page[..])?;
            }
            let mut heads = transaction.open_table(HEADS)?;
            for rows in group {
                heads.insert(&rows.head_key[..], &rows.head[..])?;
            }
        }
        Ok(transaction.commit()?)
    }
}
