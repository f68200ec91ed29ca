//! SQLite, in WAL mode with `synchronous = FULL`: each transaction is synced. Its own checkpoints
//! run as by default, within the commits that reach them.

use std::path::Path;

use anyhow::{Result, ensure};
use rusqlite::Connection;

use crate::peer::{CACHE_BYTES, Peer, Rows};

const SCHEMA: &str = "
    CREATE TABLE versions (key BLOB NOT NULL PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE pages (key BLOB NOT NULL PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE heads (key BLOB NOT NULL PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;";
const VERSION: &str = "INSERT INTO versions VALUES (?1, ?2)";
const PAGE: &str =
    "INSERT INTO pages VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET bytes = excluded.bytes";
const HEAD: &str =
    "INSERT INTO heads VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET bytes = excluded.bytes";

pub(crate) struct Sqlite(Connection);

/// Opens a database in that file, with the settings that all figures use.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    ensure!(mode == "wal", "the journal's mode is {mode}");
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Negative: in KiB.
    connection.pragma_update(None, "cache_size", -((CACHE_BYTES >> 10) as i64))?;
    Ok(connection)
}

impl Sqlite {
    pub(crate) fn open(directory: &Path) -> Result<Box<dyn Peer>> {
        let connection = connect(&directory.join("sqlite"))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Box::new(Sqlite(connection)))
    }
}

impl Peer for Sqlite {
    fn commit(&mut self, group: &[Rows]) -> Result<()> {
        let transaction = self.0.transaction()?;
        {
            let mut insert = transaction.prepare_cached(VERSION)?;
            for rows in group {
                insert.execute((&rows.version_key[..], &rows.version[..]))?;
            }
            let mut insert = transaction.prepare_cached(PAGE)?;
            for rows in group {
                insert.execute((&rows.page_key[..], &rows.page[..]))?;
            }
            let mut insert = transaction.prepare_cached(HEAD)?;
            for rows in group {
                insert.execute((&rows.head_key[..], &rows.head[..]))?;
            }
        }
        Ok(transaction.commit()?)
    }
}
