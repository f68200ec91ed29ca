//! Transfers between accounts, beside SQLite: the same draws over the same accounts, in the same
//! run.
//!
//! SQLite keeps a balance for each account and nothing else: no history, no signature, no rule
//! except that nobody withdraws more than the balance. It has one writer, so the clients' transfers
//! are one stream: each a durable transaction, and as many in one as the clients have under way.
//!
//! Invariant: a transfer that was made is durable when the clock stops.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use continuant_benches::figure::{Figure, Peer, Samples, Unit};
use continuant_benches::machine;
use continuant_benches::transfers::{
    ABOUT, ABOUT_FLOOR, ABOUT_ZIPF, Accounts, BALANCE, CLIENTS, Draw, IN_FLIGHT, Transfer, UNIFORM,
    ZIPF,
};
use rusqlite::Connection;

use crate::sqlite;

/// Transfers of a round that are durable one by one.
const SINGLES: usize = 1000;
const SCHEMA: &str = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);";
const OPEN: &str = "INSERT INTO accounts VALUES (?1, ?2)";
const WITHDRAW: &str = "UPDATE accounts SET balance = balance - ?2 WHERE id = ?1 AND balance >= ?2";
const DEPOSIT: &str = "UPDATE accounts SET balance = balance + ?2 WHERE id = ?1";

/// The accounts, in SQLite.
struct Rows {
    connection: Connection,
    count: usize,
}

impl Rows {
    fn open(directory: &Path, count: usize) -> Result<Rows> {
        let mut connection = sqlite::connect(&directory.join("accounts"))?;
        connection.execute_batch(SCHEMA)?;
        let transaction = connection.transaction()?;
        for id in 0..count {
            transaction.prepare_cached(OPEN)?.execute((id as i64, BALANCE as i64))?;
        }
        transaction.commit()?;
        Ok(Rows { connection, count })
    }

    /// Runs one round, `group` transfers a transaction, and returns the transfers per second.
    fn round(&mut self, draw: &Draw, count: usize, group: usize, seed: u64) -> Result<f64> {
        let transfers: Vec<Transfer> = draw.transfers(seed, self.count).take(count).collect();
        machine::settle();
        let start = Instant::now();
        for group in transfers.chunks(group) {
            let transaction = self.connection.transaction()?;
            for &Transfer { from, to, amount } in group {
                // SQLite's numbers have a sign.
                let (from, to, amount) = (from as i64, to as i64, amount as i64);
                let withdrawn = transaction.prepare_cached(WITHDRAW)?.execute((from, amount))?;
                ensure!(withdrawn == 1, "account {from} has less than {amount}");
                transaction.prepare_cached(DEPOSIT)?.execute((to, amount))?;
            }
            transaction.commit()?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    fn check(&self) -> Result<()> {
        let sum = "SELECT sum(balance) FROM accounts";
        let sum: i64 = self.connection.query_row(sum, [], |row| row.get(0))?;
        ensure!(sum == BALANCE as i64 * self.count as i64, "the accounts have {sum} together");
        Ok(())
    }
}

/// Measures SQLite and the engine: rounds of `count` transfers between `count` accounts.
pub(crate) fn compare(count: usize, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let count = count.max(2);
    let (mut accounts, mut rows) = (Accounts::open(count)?, Rows::open(directory.path(), count)?);
    let mut figures = Vec::new();
    for (draw, name, about) in
        [(Draw::Uniform, UNIFORM, ABOUT), (Draw::zipf(count), ZIPF, ABOUT_ZIPF)]
    {
        let (mut ours, mut floor) = <(Samples, Samples)>::default();
        let (mut grouped, mut singly) = <(Samples, Samples)>::default();
        for round in 0..rounds as u64 {
            machine::settle();
            let measured = accounts.round(&draw, count, round)?;
            ours.push(measured.rate);
            floor.push(measured.floor);
            grouped.push(rows.round(&draw, count, CLIENTS * IN_FLIGHT, round)?);
            singly.push(rows.round(&draw, SINGLES.min(count), 1, round)?);
        }
        let grouped_about = "SQLite, balances alone, as many in a transaction as are under way, \
                             WAL, synchronous = FULL";
        let singly_about = "the same, a transaction each";
        let vs = vec![
            Peer { name: "floor.append_fdatasync", about: ABOUT_FLOOR, samples: floor },
            Peer { name: "sqlite.grouped", about: grouped_about, samples: grouped },
            Peer { name: "sqlite", about: singly_about, samples: singly },
        ];
        figures.push(Figure::new(name, about, Unit::TRANSFERS_PER_SECOND, ours, vs));
    }
    accounts.check()?;
    rows.check()?;
    Ok(figures)
}
