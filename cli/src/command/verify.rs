//! `verify`: recomputes the lineage of an object, of all objects, or of a capsule.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Clock, Database, ObjectId, Replay, Time, Verified, verify_capsule};
use serde_json::{Value as Json, json};

use super::import;
use crate::audit::{Finding, audit, thread_count};
use crate::failure::{Failure, Result};
use crate::moment;
use crate::printer::Printer;
use crate::table::{Align, Table, grouped};
use crate::target::{self, Target, short};
use crate::{aside, progress, stop};

/// The remark on a lineage of which only a part was verified.
const UNKNOWN: &str = "only a part was verified: the rest of the lineage may or may not verify";
/// The extension of a capsule's file.
const CAPSULE_EXTENSION: &str = "continuant";
/// The number of objects that are verified together: their findings are held in memory.
const TOGETHER: usize = 4096;

/// Verify an object's lineage, that of all objects, or a capsule without any database
///
/// Recomputes every hash, signature, memory root and admission; with --replay it also runs every
/// step and asks every policy's guard again.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The object, or the file of a capsule [default: every object of the database]; a name that
    /// ends in `.continuant`, or begins with `/`, `./` or `../`, is a file
    #[arg(value_name = "OBJECT|FILE")]
    target: Option<String>,

    /// Every object of the database, as when none is named
    #[arg(long, conflicts_with = "target")]
    all: bool,

    /// Run every step again, ask every guard again, and compare with the record
    #[arg(long)]
    replay: bool,
}

impl Verify {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let replay = if self.replay { Replay::Yes } else { Replay::No };
        let Some(subject) = &self.target else {
            return target.reading(|db| all(db, replay, printer));
        };
        let path = Path::new(subject);
        if is_called_a_file(path) {
            return capsule(path, replay, printer);
        }
        let is_file = path.exists() && !path.is_dir();
        let verified = target.reading(|db| {
            let id = target::find(db, subject)?;
            if is_file {
                return Err(Failure::usage(format!(
                    "{subject:?} is both an object and a file: give ./{subject} for the file, or \
                     the object's id, {id}"
                )));
            }
            let bar = progress::bar("verifying", 0);
            let verified = progress::in_order(bar, |it| db.verify_with(id, replay, it));
            let verified = verified.map_err(|error| Failure::unless_stopped(error, UNKNOWN))?;
            Ok((id, verified, db.now()))
        });
        match verified {
            Ok((id, verified, now)) => {
                print(printer, ("object", id.to_string()), verified, (replay, now))
            }
            // A capsule by another name.
            Err(failure) if is_missing(&failure) && is_file => capsule(path, replay, printer),
            Err(failure) if is_missing(&failure) => Err(nothing(subject, failure)),
            Err(failure) => Err(failure),
        }
    }
}

fn is_missing(failure: &Failure) -> bool {
    ["no-object", "no-database"].contains(&failure.kind())
}

/// Returns the failure when there is neither an object nor a file.
fn nothing(subject: &str, failure: Failure) -> Failure {
    let looks_like_a_path = subject.contains('/') || Path::new(subject).extension().is_some();
    match looks_like_a_path {
        true => {
            let message = format!("there is neither a file nor an object {subject}");
            Failure::missing("no-file", message)
        }
        false => failure.about(format!("there is no file {subject}")),
    }
}

/// Returns whether a text can only mean a file: it has a capsule's extension, or leads out of the
/// working directory. The meaning of a text must not depend on which files exist.
fn is_called_a_file(path: &Path) -> bool {
    use std::path::Component::{CurDir, ParentDir, RootDir};
    let leads = |first| matches!(first, CurDir | ParentDir | RootDir);
    path.extension().is_some_and(|extension| extension == CAPSULE_EXTENSION)
        || path.components().next().is_some_and(leads)
}

fn capsule(path: &Path, replay: Replay, printer: &mut Printer) -> Result<()> {
    let (file, length) = import::open(path)?;
    let orderly = stop::orderly();
    let bar = progress::bytes("verifying", length);
    let mut from = progress::UntilAsked::new(bar.wrap_read(BufReader::new(file)));
    let verified = verify_capsule(&mut from, replay);
    bar.finish_and_clear();
    drop(orderly);
    let verified = verified.map_err(|error| match from.ended_by {
        Some(signal) => Failure::stopped(signal, UNKNOWN),
        None => Failure::from(error).about(path.display()),
    })?;
    let (name, now) = (PathBuf::from(path).display().to_string(), Clock::system().now());
    print(printer, ("capsule", name), verified, (replay, now))
}

fn print(
    printer: &mut Printer,
    (what, name): (&'static str, String),
    verified: Verified,
    (replay, now): (Replay, Time),
) -> Result<()> {
    if printer.is_json() {
        return printer.document(&document((what, &name), verified, (replay, now)));
    }
    let mut pairs = vec![(what, name)];
    pairs.extend(versions(verified, replay));
    pairs.extend(verified.fork_of.map(|(object, seq)| {
        ("begins as", format!("version {seq} of {object}; that object's own lineage is the proof"))
    }));
    pairs.extend([
        ("refusals", grouped(verified.refusals)),
        ("head", verified.head.to_string()),
        ("time", moment::show_by(verified.time, now)),
        ("lineage", outcome(verified, replay)),
    ]);
    printer.pairs(&pairs)
}

/// Returns the number of versions, and of those that were verified only in part.
fn versions(verified: Verified, replay: Replay) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("versions", grouped(verified.versions))];
    if verified.headers > 0 {
        pairs.push(("by header only", grouped(verified.headers)));
    }
    pairs.extend(guarded(verified, replay));
    pairs
}

/// Returns whether versions were replayed: those of which only the header is left cannot be.
fn is_replayed(verified: Verified, replay: Replay) -> bool {
    replay == Replay::Yes && verified.headers < verified.versions
}

/// Describes what was done to a lineage, or to several.
fn outcome(verified: Verified, replay: Replay) -> String {
    let outcome = match (replay, is_replayed(verified, replay)) {
        (Replay::No, _) => "verified",
        (Replay::Yes, true) => "verified, replayed",
        (Replay::Yes, false) => "verified, with nothing to replay",
    };
    outcome.to_string()
}

/// Returns the number of versions that a guard permitted, and whether that was verified.
fn guarded(verified: Verified, replay: Replay) -> Option<(&'static str, String)> {
    let count = grouped(verified.guarded);
    let count = match replay {
        Replay::Yes => count,
        Replay::No => format!("{count}, not verified: --replay asks the guard again"),
    };
    (verified.guarded > 0).then_some(("permitted by a guard", count))
}

fn document((what, name): (&str, &str), verified: Verified, (replay, now): (Replay, Time)) -> Json {
    json!({
        what: name,
        "versions": verified.versions,
        "headers_only": verified.headers,
        "guarded": verified.guarded,
        "refusals": verified.refusals,
        "head": verified.head.to_string(),
        "time": moment::json(verified.time),
        "ahead_ms": moment::milliseconds(verified.time.saturating_duration_since(now)),
        "fork_of": verified.fork_of.map(|(object, seq)| {
            json!({ "object": object.to_string(), "seq": seq })
        }),
        "replayed": is_replayed(verified, replay),
    })
}

/// The sum of all findings so far.
#[derive(Default)]
struct Sum {
    objects: u64,
    failed: u64,
    verified: Verified,
}

impl Sum {
    /// Adds the finding of an object, and prints it if it is to be shown.
    fn add(
        &mut self,
        (id, finding): Finding,
        asked: (Replay, Time),
        table: &mut Table<2>,
        printer: &mut Printer,
    ) -> Result<()> {
        self.objects += 1;
        let name = id.to_string();
        let error = match finding {
            Ok(verified) => {
                self.verified.versions += verified.versions;
                self.verified.headers += verified.headers;
                self.verified.guarded += verified.guarded;
                self.verified.refusals += verified.refusals;
                self.verified.time = self.verified.time.max(verified.time);
                return match printer.is_json() {
                    true => printer.document(&document(("object", &name), verified, asked)),
                    false => Ok(()),
                };
            }
            Err(error) => error,
        };
        self.failed += 1;
        let failure = Failure::from(error);
        let error = failure.document();
        match printer.is_json() {
            true => printer.document(&json!({ "object": name, "error": error })),
            false => table.row(printer, [short(&id), failure.message().to_string()]),
        }
    }

    fn print(&self, (replay, now): (Replay, Time), printer: &mut Printer) -> Result<()> {
        let mut pairs = vec![("objects", grouped(self.objects))];
        pairs.extend(versions(self.verified, replay));
        pairs.push(("refusals", grouped(self.verified.refusals)));
        if self.objects > 0 {
            pairs.push(("newest", moment::show_by(self.verified.time, now)));
        }
        pairs.push(("lineages", outcome(self.verified, replay)));
        printer.pairs(&pairs)
    }
}

/// Verifies every object, some at a time, and says all that is wrong, not the first.
fn all(db: &Database, replay: Replay, printer: &mut Printer) -> Result<()> {
    let orderly = stop::orderly();
    let bar = progress::counting("verifying");
    let mut objects = db.objects();
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut sum = Sum::default();
    let is_whole = loop {
        let ids = objects.by_ref().take(TOGETHER).map(|info| Ok(info?.id));
        let ids = ids.collect::<Result<Vec<ObjectId>>>()?;
        if ids.is_empty() {
            break true;
        }
        let findings = audit(db, &ids, replay, thread_count(), &bar);
        let is_stopped = findings.len() < ids.len();
        for finding in findings {
            sum.add(finding, (replay, db.now()), &mut table, printer)?;
        }
        if is_stopped {
            break false;
        }
    };
    bar.finish_and_clear();
    drop(orderly);
    let (failed, count) = (grouped(sum.failed), grouped(sum.objects));
    if let Some(signal) = stop::asked().filter(|_| !is_whole) {
        table.end(printer)?;
        let found = format!("{failed} of the {count} objects so far do not verify");
        return Err(Failure::stopped(signal, found));
    }
    if sum.failed > 0 {
        table.end(printer)?;
        let message = format!("{failed} of {count} objects do not verify");
        return Err(Failure::damaged("does-not-verify", message));
    }
    if sum.objects == 0 {
        aside::note(printer, "no-objects", "the database has no object to verify");
    }
    if printer.is_json() { Ok(()) } else { sum.print((replay, db.now()), printer) }
}
