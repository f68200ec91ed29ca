//! `demo`: plays a month of real flights into a database on disk, and reports the month from it.
//!
//! Every aircraft is an object, every departure a signed call, every inspection an object's own
//! cycle. Then the database is closed and opened again, every lineage is verified and replayed, and
//! one aircraft moves to a second database. This file holds the order of these stages; each has a
//! file of its own.

mod flights;
mod journey;
mod play;
mod report;
mod totals;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use continuant::{Clock, Database, ObjectId, Options, Replay, Time, storage};
use tempfile::TempDir;

use self::flights::Row;
use self::play::{Fleet, Record};
use self::report::Report;
use self::totals::Totals;
use crate::audit::{audit, thread_count};
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::grouped;
use crate::target::{self, Target};
use crate::{files, number, progress, stop};

/// A month of departures, that the binary carries.
const FLIGHTS: &[u8] = include_bytes!("../../data/flights-2013-01.csv");
const FLIGHTS_NAME: &str = "flights-2013-01.csv";

/// Play a month of real flights, and report it from the objects
///
/// One object per aircraft, one signed call per departure; inspections are the objects' own
/// cycles. With --json the last line is one object with all figures. The database is a temporary
/// one unless --db names a new directory, which is kept.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Other flights than January 2013's: a CSV file of the same form
    #[arg(long, value_name = "FILE")]
    flights: Option<PathBuf>,

    /// Keep the temporary database
    #[arg(long)]
    keep: bool,

    /// Threads that run steps [default: as many as there are cores]
    #[arg(long, value_name = "COUNT", value_parser = parse_workers)]
    workers: Option<usize>,

    /// Append a line to FILE for each commit that was acknowledged, once it was: object, version
    /// number, version hash. A pipe will do: kill the demo at any moment, and what its reader has
    /// is in the database
    #[arg(long, value_name = "FILE")]
    acknowledge: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let (name, bytes) = self.read()?;
        let rows = flights::parse(&bytes)
            .map_err(|error| Failure::new("flights", format!("{name}: {error}")))?;
        let record = Record::open(self.acknowledge.clone())?;
        let folder = self.folder(target)?;
        let given = target.given().map(Path::to_path_buf);
        let directory = given.clone().unwrap_or_else(|| folder.path().join("fleet"));
        target::require_new(&directory)?;
        let workers = self.workers.unwrap_or_else(thread_count);
        let lock_wait = target.lock_wait();
        let stage = Stage { rows: &rows, directory, workers, lock_wait };
        let locked = |failure| target.explain(failure, &stage.directory);

        let _orderly = stop::orderly();
        let played = stage.play(record).map_err(locked)?;
        let db = stage.open(stage.last_time(), true).map_err(locked)?;
        let totals = Totals::of(&db)?;
        let verified = stage.audit(&db, &totals.ids, Replay::No)?;
        let replayed = stage.audit(&db, &totals.ids, Replay::Yes)?;
        going_on("all lineages were verified and replayed")?;
        let journey = journey::travel(&db, &totals, &rows, folder.path())?;
        let bytes_on_disk = db.stats()?.bytes_on_disk;
        target::close_durably(db)?;

        let kept = (self.keep || given.is_some()).then(|| stage.directory.display().to_string());
        let row_count = rows.len() as u64;
        if let Some(kept) = &kept {
            let what = format!("the flights were played into the database {kept}");
            printer.done(what, serde_json::json!({ "database": kept }));
        }
        let report = Report {
            flights: name,
            row_count,
            totals,
            played,
            verified,
            replayed,
            journey,
            bytes_on_disk,
            kept,
        };
        report.print(printer)
    }

    fn read(&self) -> Result<(String, Vec<u8>)> {
        let Some(path) = &self.flights else { return Ok((FLIGHTS_NAME.into(), FLIGHTS.into())) };
        let bytes = files::read_at_most("reading", path, files::LISTING_BYTES_MAX)?;
        Ok((path.display().to_string(), files::without_mark(bytes)))
    }

    /// A temporary directory, gone at the end unless the database is in it and to be kept.
    fn folder(&self, target: &Target) -> Result<TempDir> {
        let keep = self.keep && target.given().is_none();
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix("continuant-demo-").disable_cleanup(keep).tempdir();
        made.map_err(|error| Failure::file("making", &std::env::temp_dir(), &error))
    }
}

fn parse_workers(text: &str) -> Result<usize, String> {
    let count = number::parse(text)?;
    match (1..=1024).contains(&count) {
        true => Ok(count),
        false => Err("expected 1 to 1024 threads".to_string()),
    }
}

/// Fails when the process was asked to end, with the work done so far.
fn going_on(done: impl std::fmt::Display) -> Result<()> {
    match stop::asked() {
        Some(signal) => Err(Failure::stopped(signal, done)),
        None => Ok(()),
    }
}

/// The rows to play, and the place for the database.
struct Stage<'a> {
    rows: &'a [Row<'a>],
    directory: PathBuf,
    workers: usize,
    lock_wait: Duration,
}

impl Stage<'_> {
    /// Opens the database, with the clock at `time`.
    fn open(&self, time: Time, existing: bool) -> Result<Database> {
        let options = Options::new()
            .clock(Clock::manual(time))
            .workers(self.workers)
            .mailbox_max(play::WINDOW)
            // Every refusal must be found again.
            .refusals_max(u64::MAX)
            .storage(storage::Options::new().existing(existing).lock_wait(self.lock_wait));
        Ok(options.open(&self.directory)?)
    }

    fn last_time(&self) -> Time {
        self.rows.last().map_or(Time::MIN, |row| row.time)
    }

    /// Plays all rows, and closes the database; returns how long the playing took.
    fn play(&self, record: Record) -> Result<Duration> {
        let db = self.open(self.rows.first().map_or(Time::MIN, |row| row.time), false)?;
        let bar = progress::bar("playing", self.rows.len() as u64);
        let start = Instant::now();
        let count = Fleet::new(&db, record)?.play(self.rows, &bar)?;
        let took = start.elapsed();
        target::close_durably(db)?;
        let (count, all) = (grouped(count as u64), grouped(self.rows.len() as u64));
        going_on(format!(
            "{count} of {all} rows were played, and every commit of them is durable"
        ))?;
        Ok(took)
    }

    /// Verifies every lineage; returns how many, and how long it took.
    fn audit(&self, db: &Database, ids: &[ObjectId], replay: Replay) -> Result<(u64, Duration)> {
        let doing = if replay == Replay::Yes { "replaying" } else { "verifying" };
        let bar = progress::bar(doing, ids.len() as u64);
        let start = Instant::now();
        let findings = audit(db, ids, replay, self.workers, &bar);
        bar.finish_and_clear();
        let took = start.elapsed();
        going_on(format!("{} of {} lineages", findings.len(), ids.len()))?;
        let mut count = 0;
        for (_, finding) in findings {
            finding?;
            count += 1;
        }
        Ok((count, took))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn another_process_that_has_the_database_open_is_waited_for() {
        let directory = tempfile::tempdir().expect("a directory is made");
        let lock_wait = Duration::from_secs(600);
        let directory = directory.path().join("fleet");
        let stage = Stage { rows: &[], directory, workers: 1, lock_wait };
        let held = stage.open(Time::MIN, false).expect("it is made");
        let (sender, begun) = channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                sender.send(()).expect("it is waited for");
                stage.open(Time::MIN, true).map(drop)
            });
            begun.recv().expect("it is sent");
            held.close().expect("it is closed");
            waiting.join().expect("it does not panic").expect("it is opened");
        });
    }
}
