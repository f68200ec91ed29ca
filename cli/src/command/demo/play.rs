//! Playing the rows: one object per aircraft, one signed call per row, under a clock that stands at
//! the row's time.
//!
//! Rows are submitted without waiting for the ones before. The engine runs the inputs of one object
//! in order, each behind the wakes that were due before it, so the outcome does not depend on the
//! number of workers. This module counts nothing: the objects are asked afterwards.
//!
//! Invariant: a commit is acknowledged in the record only after its receipt came back.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use continuant::{Call, Code, Database, ErrorKind, ObjectId, Pending, Receipt, SigningKey, args};
use indicatif::ProgressBar;

use super::flights::{Event, Row};
use crate::failure::{Failure, Result};
use crate::stop;

/// Inputs that are under way at a time.
pub(super) const WINDOW: usize = 4096;

/// The module of every aircraft.
const MODULE: &[u8] = include_bytes!("../../../data/aircraft.wasm");
const POLICY: &str = include_str!("../../../data/aircraft.cedar");

// The number is the demo's own: what it makes up depends on no format.
const OPERATOR_CONTEXT: &str = "continuant demo 1 operator key";
const SECRET_CONTEXT: &str = "continuant demo 1 aircraft secret";

/// The file in which each acknowledged commit is noted.
#[derive(Debug, Default)]
pub(super) struct Record(Option<(File, PathBuf)>);

impl Record {
    /// A record in a file, which may be a pipe.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Record> {
        let open = |path: PathBuf| {
            let file = File::options().append(true).create(true).open(&path);
            file.map(|file| (file, path.clone()))
                .map_err(|error| Failure::file("opening", &path, &error))
        };
        Ok(Record(path.map(open).transpose()?))
    }

    /// Writes each line at once, so that the reader of a pipe has every acknowledged commit.
    fn note(&mut self, receipt: &Receipt) -> Result<()> {
        let Some((file, path)) = &mut self.0 else { return Ok(()) };
        let line = format!("{} {} {}\n", receipt.object, receipt.header.seq, receipt.version);
        let written = file.write_all(line.as_bytes());
        written.map_err(|error| Failure::file("writing", path, &error))
    }
}

/// The fleet in the making.
pub(super) struct Fleet<'a> {
    db: &'a Database,
    code: Code,
    operators: HashMap<&'a str, SigningKey>,
    aircraft: HashMap<&'a str, ObjectId>,
    under_way: VecDeque<Pending>,
    record: Record,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(db: &'a Database, record: Record) -> Result<Fleet<'a>> {
        let code = Code::wasm(MODULE)?.policy(POLICY);
        let (operators, aircraft, under_way) = Default::default();
        Ok(Fleet { db, code, operators, aircraft, under_way, record })
    }

    /// Plays `rows`; when it is done, everything is durable and no wake is due.
    /// Plays fewer when the process is asked to end; returns how many.
    pub(super) fn play(&mut self, rows: &[Row<'a>], bar: &ProgressBar) -> Result<usize> {
        let mut played = 0;
        for row in rows {
            if stop::asked().is_some() {
                break;
            }
            self.db.advance_clock(row.time)?;
            self.submit(row).map_err(|failure| failure.about(format!("line {}", row.line)))?;
            self.settle(WINDOW)?;
            bar.inc(1);
            played += 1;
        }
        self.settle(0)?;
        if let Some(last) = rows[..played].last() {
            self.db.run_until(last.time)?;
        }
        bar.finish_and_clear();
        Ok(played)
    }

    fn submit(&mut self, row: &Row<'a>) -> Result<()> {
        let operator = self.operators.entry(row.carrier).or_insert_with(|| operator(row.carrier));
        let id = match self.aircraft.get(row.tail) {
            Some(&id) => id,
            None => {
                let code = aircraft(&self.code, row.tail, operator);
                let (id, pending) = self.db.begin_create(code)?;
                self.under_way.push_back(pending);
                self.aircraft.insert(row.tail, id);
                id
            }
        };
        let operator = operator.clone();
        loop {
            // A key's nonces on one object only grow, as lines do.
            match call(self.db, id, row.event).signed(&operator).nonce(row.line).submit() {
                Ok(pending) => {
                    self.under_way.push_back(pending);
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::MailboxFull { .. }) => {
                    let left = self.under_way.len().saturating_sub(1);
                    self.settle(left)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the oldest inputs until at most `max` are under way. A refusal is an outcome; it
    /// is on record with the object.
    fn settle(&mut self, max: usize) -> Result<()> {
        while self.under_way.len() > max {
            let Some(pending) = self.under_way.pop_front() else { return Ok(()) };
            match pending.wait() {
                Ok(receipt) => self.record.note(&receipt)?,
                Err(error) if error.refusal().is_some() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A carrier's key. A real carrier's would be random, and secret.
pub(super) fn operator(carrier: &str) -> SigningKey {
    SigningKey::from_secret(&blake3::derive_key(OPERATOR_CONTEXT, carrier.as_bytes()))
}

/// Returns the code of an aircraft: its secret derives from its tail number, so that it is the same
/// object in every database. A real one's would be random, and secret.
fn aircraft(code: &Code, tail: &str, operator: &SigningKey) -> Code {
    let secret = blake3::derive_key(SECRET_CONTEXT, tail.as_bytes());
    code.clone().args(args![operator.public().0.to_vec()]).secret(secret).name(tail)
}

fn call(db: &Database, id: ObjectId, event: Event) -> Call<'_> {
    match event {
        Event::Fly { departure, minutes, miles } => {
            db.call(id, "fly", args![departure, minutes, miles])
        }
        Event::Cancel => db.call(id, "cancel", args![]),
        Event::Divert => db.call(id, "divert", args![]),
    }
}
