//! `restore`: a new database out of a backup, as of any moment.

use std::path::PathBuf;

use clap::Args;
use continuant::Database;
use continuant::storage::{
    Error, ErrorKind, Options, Position, RestoreReport, Restoring, Until, WitnessedBy,
};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::{Session, short};
use crate::table::grouped;
use crate::{moment, progress};

/// Make the database, which must be new, out of a backup
///
/// It is the same database as of the moment: only one of the two should go on. It says what it
/// restored: a backup that ends before the end that it had, or nothing to restore, is a failure,
/// and leaves nothing behind. That retention has dropped an object's state as of then is one, too:
/// the rest is there.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The directory of the backup
    from: PathBuf,

    /// As of this time: up to the last change that is not later; without it, all there is
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    until: Option<u64>,

    /// Take a backup that was cut, if it ends here, as it was told
    #[arg(long, value_name = "POSITION")]
    accept_end: Option<Position>,

    /// Make a database also when no object is in it
    #[arg(long)]
    allow_empty: bool,
}

impl Restore {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        let to = session.directory();
        let bar = progress::bytes("restoring", 0);
        let until = self.until.map_or(Until::End, Until::Time);
        let what = Restoring::from(until);
        let what = what.allow_empty(self.allow_empty).accept_end(self.accept_end);
        let options = Options::new().lock_wait(session.lock_wait());
        let restored = options.restore(&self.from, &to, what, progress::follow(&bar));
        bar.finish_and_clear();
        let report = restored.map_err(explained)?;
        print(&report, &to.display().to_string(), printer)?;
        match report.left_out {
            0 => Ok(()),
            _ => session.reading(require_states),
        }
    }
}

/// That each object has a state as of then: retention may have dropped it since.
fn require_states(db: &Database) -> Result<()> {
    let (mut count, mut first) = (0, None);
    for info in db.objects() {
        let info = info?;
        let read = db.snapshot(info.id).map(drop).map_err(Failure::from);
        match read {
            Err(failure) if failure.kind() == "pruned" => {
                count += 1;
                first.get_or_insert(info.name.unwrap_or_else(|| short(&info.id)));
            }
            read => read?,
        }
    }
    let Some(first) = first else { return Ok(()) };
    let whose = format!("{} objects, {first} the first, have no state", grouped(count));
    let why = "retention dropped what they were then: restore to a later time, or do without them";
    Err(Failure::damaged("no-state", format!("{whose} as of then: {why}")))
}

/// A failure with what can be done about it here.
fn explained(error: Error) -> Failure {
    match *error.kind() {
        ErrorKind::NothingThen { first } => {
            let when = match first {
                Some(first) => format!("its first change is of {}", moment::show(first)),
                None => "it has no object".to_string(),
            };
            let path = error.path().map_or(String::new(), |path| format!("{}: ", path.display()));
            let ways = "a later --until, or --allow-empty for a database without objects";
            Failure::missing("nothing", format!("{path}nothing to restore: {when}; {ways}"))
        }
        ErrorKind::BackupCut { found, .. } => {
            let ways = format!("another backup, or --accept-end {found} for what there is");
            Failure::from(error).advised(ways)
        }
        // Only the directory that is to be made is asked to be empty.
        ErrorKind::Occupied => {
            let path = error.path().map_or(String::new(), |path| path.display().to_string());
            Failure::new("exists", format!("{path} is not empty: name a new directory with --db"))
        }
        _ => error.into(),
    }
}

fn print(report: &RestoreReport, to: &str, printer: &mut Printer) -> Result<()> {
    let contents = &report.contents;
    if printer.is_json() {
        let witness = match report.witness {
            WitnessedBy::Backup { .. } => "backup",
            WitnessedBy::Index(_) => "index",
            _ => "none",
        };
        return printer.document(&json!({
            "database": to,
            "end": report.end.to_string(),
            "time": moment::json(report.time),
            "bytes": report.bytes,
            "frames": contents.frame_count,
            "objects": contents.object_count,
            "versions": contents.version_count,
            "refusals": contents.refusal_count,
            "frames_left_out": report.left_out,
            "frames_later": report.later,
            "witness": witness,
        }));
    }
    let witness = match report.witness {
        WitnessedBy::Backup { end, time: 0 } => format!("the backup's record of its end, {end}"),
        WitnessedBy::Backup { end, time } => {
            format!("the backup's record of its end, {end}, of {}", moment::show(time))
        }
        WitnessedBy::Index(end) => format!("its index, up to {end}"),
        _ => "nothing: an older backup has no record of its end, and may have been cut".to_string(),
    };
    let mut pairs = vec![
        ("database", to.to_string()),
        ("newest", report.time.map_or("-".to_string(), moment::show)),
        ("end", report.end.to_string()),
        ("objects", grouped(contents.object_count)),
        ("versions", grouped(contents.version_count)),
        ("refusals", grouped(contents.refusal_count)),
        ("frames", grouped(contents.frame_count)),
        ("left out", format!("{} frames", grouped(report.left_out))),
        ("bytes", grouped(report.bytes)),
        ("vouched by", witness),
    ];
    if report.later > 0 {
        let later = format!("{} frames, before others that are not", grouped(report.later));
        pairs.push(("later", later));
    }
    printer.pairs(&pairs)
}
