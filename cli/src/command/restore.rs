//! `restore`: a new database from a backup, as of any moment.

use std::path::PathBuf;

use clap::Args;
use continuant::Time;
use continuant::storage::{
    Disorder, Error, ErrorKind, Options, Position, RestoreReport, Restoring, StatesPruned, Until,
    WitnessedBy,
};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::grouped;
use crate::target::{Target, short};
use crate::{aside, moment, progress, stop};

/// Make the database, which must be new, from a backup
///
/// The new database is the same one as of that moment: continue only one of the two. The command
/// prints what it restored. It fails before it makes anything when the backup does not end where it
/// did, when nothing existed yet at the time, when retention has dropped the state of an object as
/// of then, and when the time names no place, because some later changes stand before others that
/// are not later.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The directory of the backup
    from: PathBuf,

    /// As of this time: up to the first later change; without it, everything
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    until: Option<Time>,

    /// Up to this place of the log, as a failure or a report names it
    #[arg(long, value_name = "POSITION", conflicts_with = "until")]
    until_position: Option<Position>,

    /// Accept a backup that was cut, or has more than its record of its end says, if the restored
    /// part ends at this printed place
    #[arg(long, value_name = "POSITION")]
    accept_end: Option<Position>,

    /// Make a database also when no object is in it
    #[arg(long)]
    allow_empty: bool,

    /// Restore objects whose state retention has dropped too, with their lineage alone
    #[arg(long)]
    allow_pruned: bool,
}

impl Restore {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let to = target.directory();
        let until = match (self.until, self.until_position) {
            (_, Some(place)) => Until::Position(place),
            (until, None) => until.map_or(Until::End, Until::Time),
        };
        let what = Restoring::from(until).allow_empty(self.allow_empty);
        let what = what.allow_pruned(self.allow_pruned).accept_end(self.accept_end);
        let options = Options::new().lock_wait(target.lock_wait());
        let bar = progress::bytes("restoring", 0);
        let restored = progress::in_order(bar, |it| options.restore(&self.from, &to, what, it));
        let report = restored.map_err(|error| target.waited(explained(error)))?;
        if let Some(fault) = &report.marker {
            let id = "the database's id is the one that the log says";
            aside::warn("marker", &format!("{fault}; {id}"));
        }
        let made = to.display().to_string();
        printer.done(format!("the database {made}"), json!({ "database": made }));
        print(&report, &made, printer)
    }
}

/// Adds to a failure what to do about it.
fn explained(error: Error) -> Failure {
    let place = error.path().map_or(String::new(), |path| format!("{}: ", path.display()));
    match *error.kind() {
        ErrorKind::NothingThen { first } => {
            let when = match first {
                Some(first) => format!("the backup's first change is of {first}"),
                None => "the backup has no object".to_string(),
            };
            let ways = "give a later --until, or --allow-empty for a database without objects";
            Failure::missing("nothing", format!("{place}nothing to restore: {when}; {ways}"))
        }
        ErrorKind::Stopped => {
            let done = "nothing was restored, and nothing is left behind";
            Failure::stopped(stop::asked().unwrap_or_default(), done)
        }
        ErrorKind::TimesOutOfOrder(ref disorder) => out_of_order(disorder, &place),
        ErrorKind::StatesPruned(ref pruned) => without_states(pruned, &place),
        ErrorKind::BackupBeyond { found, recorded } => Failure::from(error).advised(format!(
            "bring it up to date with `continuant backup` if the database is still there; else \
             restore up to the recorded end with --until-position {recorded}, or up to {found} \
             with --accept-end {found}"
        )),
        ErrorKind::BackupCut { found, .. } => {
            let ways = format!(
                "restore from another backup, or with --accept-end {found} for the part that is \
                 left"
            );
            Failure::from(error).advised(ways)
        }
        // Only the directory of the new database must be empty.
        ErrorKind::Occupied => {
            let path = error.path().map_or(String::new(), |path| path.display().to_string());
            let within = std::error::Error::source(&error).map(ToString::to_string);
            let problem = within.map_or(" is not empty".to_string(), |it| format!(": {it}"));
            Failure::new("exists", format!("{path}{problem}: name a new directory with --db"))
        }
        _ => error.into(),
    }
}

/// The failure that a time names no place.
fn out_of_order(disorder: &Disorder, place: &str) -> Failure {
    let Disorder { until, later, later_time, end, end_time } = *disorder;
    let message = format!(
        "{place}the log is not in the order of its times, because a clock was ahead or went back, \
         so that {until} names no place in it: --until-position {later} stops before the first \
         later change, of {later_time}; --until-position {end} stops behind the last change that \
         is not later, of {end_time}, and includes later ones before it"
    );
    Failure::new("times-out-of-order", message).with_details(json!({
        "first_later": { "position": later.to_string(), "time": moment::json(Some(later_time)) },
        "last_not_later": { "end": end.to_string(), "time": moment::json(Some(end_time)) },
    }))
}

/// The failure that objects have no state as of then.
fn without_states(pruned: &StatesPruned, place: &str) -> Failure {
    let named = pruned.objects.iter().map(|object| {
        let name = object.name.clone().unwrap_or_else(|| short(&object.id));
        format!("{name} at version {}", object.seq)
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if pruned.count > pruned.objects.len() as u64 { " and more" } else { "" };
    let earliest = match pruned.earliest {
        Some((from, time)) => {
            let time = time.map_or(String::new(), |time| format!(", {time}"));
            format!("from --until-position {from} on{time}, all objects have their state")
        }
        None => "at no later place do all objects have their state".to_string(),
    };
    let whose = format!("the state that {} objects had at that time", grouped(pruned.count));
    let message = format!(
        "{place}retention has dropped {whose}: {named}{more}; {earliest}; --allow-pruned restores \
         the lineage of these objects without it"
    );
    let objects = pruned.objects.iter().map(
        |object| json!({ "object": object.id.to_string(), "name": object.name, "seq": object.seq }),
    );
    Failure::damaged("no-state", message).with_details(json!({
        "count": pruned.count,
        "objects": objects.collect::<Vec<_>>(),
        "earliest": pruned.earliest.map(|(place, time)| {
            json!({ "position": place.to_string(), "time": moment::json(time) })
        }),
    }))
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
            "frames_beyond_witness": report.beyond,
            "objects_without_state": report.pruned,
            "witness": witness,
            "marker": report.marker.as_ref().map(Error::to_string),
        }));
    }
    let witness = match report.witness {
        WitnessedBy::Backup { end, time: None } => format!("the backup's record of its end, {end}"),
        WitnessedBy::Backup { end, time: Some(time) } => {
            format!("the backup's record of its end, {end}, of {time}")
        }
        WitnessedBy::Index(end) => format!("its index, up to {end}"),
        _ => "nothing: the backup has no record of its end, so it may have been cut".to_string(),
    };
    let mut pairs = vec![
        ("database", to.to_string()),
        ("newest", report.time.map_or("-".to_string(), |time| time.to_string())),
        ("end", report.end.to_string()),
        ("creations and imports", grouped(contents.object_count)),
        ("versions", grouped(contents.version_count)),
        ("refusals", grouped(contents.refusal_count)),
        ("frames", grouped(contents.frame_count)),
        ("left out", format!("{} frames", grouped(report.left_out))),
        ("bytes", grouped(report.bytes)),
        ("end confirmed by", witness),
    ];
    if report.beyond > 0 {
        pairs.push(("not confirmed", format!("{} frames behind that end", grouped(report.beyond))));
    }
    if report.pruned > 0 {
        let count = grouped(report.pruned);
        pairs.push(("without state", format!("{count} objects, whose state retention dropped")));
    }
    printer.pairs(&pairs)
}
