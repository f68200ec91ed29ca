//! `check`: walks the whole database and reports all damage.

use clap::Args;
use continuant::storage::{
    AcceptedLoss, Compared, Damage, DoubtfulName, ErrorKind, LossToken, Lost, LostObject,
    LostVersions, RecordedLoss, Repaired, Report,
};
use continuant::{Ahead, Clock};
use serde_json::{Value as Json, json};

use super::evidence;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::grouped;
use crate::target::{Target, loss_line, short};
use crate::{moment, progress, stop};

/// Check every byte of the database, and report all damage
///
/// Signatures, memory roots and admissions are left to `verify --all`. The check holds as many
/// objects at a time as fit into 256 MiB, and reads the log again for the next ones; it counts
/// these passes. A repair rebuilds the index from the log, and the marker if it is lost. It first
/// compares the log with the old index: if the log has lost something, it prints the loss, with
/// exit code 4, and changes nothing unless --accept-loss repeats the printed loss. An accepted loss
/// stays on record, and may be accepted again: then there is nothing left to accept. A repair that
/// a signal stops leaves the index as it was.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Make the index anew from the log first: the log is the truth
    #[arg(long)]
    repair: bool,

    /// Continue without the lost part of the log: exactly the loss that was printed
    #[arg(long, value_name = "TOKEN", requires = "repair")]
    accept_loss: Option<LossToken>,
}

impl Check {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let repaired = match self.repair {
            true => {
                let repaired = self.repair(target, printer)?;
                let what =
                    words(&repaired).into_iter().map(|(label, value)| format!("{label}: {value}"));
                let what = what.collect::<Vec<_>>().join(", ");
                let what = format!("the index was rebuilt ({what})");
                printer.done(what, repair_document(&repaired));
                Some(repaired)
            }
            false => None,
        };
        // A signal before the check does not keep the command from saying that it repaired.
        let _orderly = repaired.is_some().then(stop::orderly);
        let (report, ahead) = target.reading(|db| {
            let bar = progress::bytes("checking", 0);
            let report = progress::in_order(bar, |progress| db.check(progress));
            let so_far = match repaired {
                Some(_) => "the part not yet read was not checked: run `check` again",
                None => "nothing was changed, and the part not yet read was not checked",
            };
            let report = report.map_err(|error| Failure::unless_stopped(error, so_far))?;
            // A damaged database may not be readable.
            let ahead = if report.is_sound() { db.ahead()? } else { None };
            Ok((report, ahead))
        })?;
        print(&report, ahead, repaired.as_ref(), printer)?;
        let places = match report.damage_count {
            0 => return Ok(()),
            1 => "one place".to_string(),
            count => format!("{} places", grouped(count)),
        };
        // The index is made again from the log; the log from nothing that is here.
        let is_of_log = report.damage.iter().any(|damage| match damage.error().kind() {
            ErrorKind::Damaged { file, .. } => file.starts_with("log"),
            _ => false,
        });
        let advice = match is_of_log {
            true => {
                "; no repair brings back what the log has lost: restore a backup, or export the \
                 objects that verify; an object that lost versions continues only as a fork of its \
                 newest readable one"
            }
            false => "",
        };
        let message = format!("the database is damaged in {places}{advice}");
        Err(Failure::damaged("damaged", message))
    }

    fn repair(&self, target: &Target, printer: &mut Printer) -> Result<Repaired> {
        let time = Clock::system().now();
        let accepted = self.accept_loss.map(|token| AcceptedLoss { token, time });
        let repaired = target.repair(accepted).map_err(|error| {
            let printed = match error.kind() {
                ErrorKind::Lost(lost) => print_lost(lost, printer),
                _ => Ok(()),
            };
            let as_it_was = "the index is as it was: `check --repair` makes it anew";
            let failure = Failure::unless_stopped(error.into(), as_it_was);
            let failure = target.explained(failure);
            printed.map_or_else(|printing| printing, |()| failure)
        })?;
        match (self.accept_loss, &repaired.compared) {
            (None, _) | (_, Compared::Lost(_)) => Ok(repaired),
            _ if repaired.accepted_before.is_some() => Ok(repaired),
            (Some(token), compared) => {
                let why = compared_words(compared);
                let message =
                    format!("no loss with the token {token}: {why}; the index is made anew");
                Err(Failure::missing("no-loss", message))
            }
        }
    }
}

/// Describes the comparison of the log with the index.
fn compared_words(compared: &Compared) -> String {
    match compared {
        Compared::Whole(end) => {
            format!("the log has everything that the old index knew, up to {end}")
        }
        Compared::Lost(loss) => format!("the loss was accepted: {}", loss.loss),
        Compared::NoIndex => {
            "there was no old index to compare with: whether the log lost its end is unknown".into()
        }
        Compared::Unreadable(why) => {
            let unread = format!("the old index could not be read ({why})");
            format!("{unread}: whether the log lost its end is unknown")
        }
        _ => String::new(),
    }
}

/// Describes the repair.
fn words(repaired: &Repaired) -> Vec<(&'static str, String)> {
    let compared = compared_words(&repaired.compared);
    let marker = repaired.marker_made.then(|| "made again".to_string());
    let marker = marker.map(|made| ("marker", made));
    let before = repaired.accepted_before.as_ref().map(|loss| {
        let accepted = format!("accepted before, at {}", loss_line(loss));
        let is_whole = matches!(repaired.compared, Compared::Whole(_));
        ("loss", accepted + if is_whole { "; nothing is left to accept" } else { "" })
    });
    marker.into_iter().chain([("compared", compared)]).chain(before).collect()
}

fn document(report: &Report, ahead: Option<Ahead>, repaired: Option<&Repaired>) -> Json {
    let mut document = json!({
        "bytes": report.bytes,
        "frames": report.frame_count,
        "passes": report.pass_count,
        "objects": report.object_count,
        "deleted": report.deleted_count,
        "versions": report.version_count,
        "refusals": report.refusal_count,
        "evidence": report.evidence.map(evidence::document),
        "doubtful_names": report.doubtful_names.iter().map(doubtful).collect::<Vec<_>>(),
        "ahead": ahead.map(|ahead| json!({
            "objects": ahead.object_count,
            "object": ahead.object.to_string(),
            "ahead_ms": moment::milliseconds(ahead.by),
        })),
        "losses": report.losses.iter().map(loss_document).collect::<Vec<_>>(),
        "damage_count": report.damage_count,
        "damage": report.damage.iter().map(Damage::to_string).collect::<Vec<_>>(),
        "lost_count": report.lost_count,
        "lost": report.lost.iter().map(lost_document).collect::<Vec<_>>(),
        "consequences": report.consequence_count,
    });
    if let Some(repaired) = repaired {
        document["repair"] = repair_document(repaired);
    }
    document
}

fn repair_document(repaired: &Repaired) -> Json {
    let compared = match &repaired.compared {
        Compared::Whole(_) => "whole",
        Compared::Lost(_) => "lost",
        Compared::NoIndex => "no-index",
        _ => "unreadable",
    };
    json!({
        "compared": compared,
        "marker_made": repaired.marker_made,
        "accepted_before": repaired.accepted_before.as_ref().map(loss_document),
    })
}

fn doubtful(DoubtfulName { name, object, other }: &DoubtfulName) -> Json {
    json!({
        "name": name,
        "object": object.to_string(),
        "other": other.map(|id| id.to_string()),
    })
}

fn lost_document(lost: &LostVersions) -> Json {
    let LostVersions { object, name, first, last } = lost;
    json!({ "object": object.to_string(), "name": name, "first": first, "last": last })
}

/// A loss on record.
fn loss_document(recorded: &RecordedLoss) -> Json {
    let loss = &recorded.loss;
    json!({
        "time": moment::json(recorded.time),
        "position": recorded.position.to_string(),
        "expected": loss.expected.to_string(),
        "found": loss.found.to_string(),
        "objects": loss.object_count,
        "objects_gone": loss.gone_count,
        "versions": loss.version_count,
        "refusals": loss.refusal_count,
        "counted": loss.is_counted,
    })
}

fn print_lost(lost: &Lost, printer: &mut Printer) -> Result<()> {
    let loss = &lost.loss;
    if printer.is_json() {
        let objects = lost.objects.iter().map(|object| {
            json!({
                "object": object.id.to_string(),
                "name": object.name,
                "kept": object.kept,
                "newest": object.newest,
                "refusals": object.refusal_count,
            })
        });
        return printer.document(&json!({
            "expected": loss.expected.to_string(),
            "found": loss.found.to_string(),
            "objects_lost": loss.object_count,
            "objects_gone": loss.gone_count,
            "versions_lost": loss.version_count,
            "refusals_lost": loss.refusal_count,
            "counted": loss.is_counted,
            "accept_loss": lost.token.to_string(),
            "objects": objects.collect::<Vec<_>>(),
        }));
    }
    printer.pairs(&[
        ("log ended", loss.expected.to_string()),
        ("log ends", loss.found.to_string()),
        ("objects", format!("{}, wholly {}", grouped(loss.object_count), grouped(loss.gone_count))),
        ("versions", grouped(loss.version_count)),
        ("refusals", grouped(loss.refusal_count)),
        ("counted", if loss.is_counted { "all" } else { "at least these" }.to_string()),
    ])?;
    for object in &lost.objects {
        printer.line(&format!("  {}", lost_line(object)))?;
    }
    match loss.object_count - lost.objects.len() as u64 {
        0 => Ok(()),
        more => printer.line(&format!("  and {} more", grouped(more))),
    }
}

fn lost_line(object: &LostObject) -> String {
    let LostObject { id, name, kept, newest, refusal_count } = object;
    let first = kept.map_or(0, |kept| kept + 1);
    let versions = match () {
        () if first > *newest => "no version".to_string(),
        () if first == *newest => format!("version {newest}"),
        () => format!("versions {first} to {newest}"),
    };
    let refusals =
        if *refusal_count > 0 { format!(", {refusal_count} refusals") } else { "".into() };
    let name = name.as_ref().map_or(String::new(), |name| format!("  {name:?}"));
    format!("{}  {versions}{refusals}{name}", short(id))
}

fn print(
    report: &Report,
    ahead: Option<Ahead>,
    repaired: Option<&Repaired>,
    printer: &mut Printer,
) -> Result<()> {
    if printer.is_json() {
        return printer.document(&document(report, ahead, repaired));
    }
    let mut pairs: Vec<_> = repaired.map(words).unwrap_or_default();
    pairs.extend([
        ("objects", objects(report)),
        ("versions", grouped(report.version_count)),
        ("refusals", grouped(report.refusal_count)),
        ("frames", grouped(report.frame_count)),
        ("bytes", grouped(report.bytes)),
    ]);
    pairs.extend(report.evidence.into_iter().flat_map(evidence::pairs));
    let passes = Some(grouped(report.pass_count)).filter(|_| report.pass_count > 1);
    pairs.extend(passes.map(|count| ("passes", count)));
    pairs.extend(report.losses.iter().map(|loss| ("lost before", loss_line(loss))));
    pairs.push((
        "damage",
        if report.is_sound() { "none".into() } else { grouped(report.damage_count) },
    ));
    pairs.extend(ahead.map(|Ahead { object_count, object, by, .. }| {
        let (count, object, by) = (grouped(object_count), short(&object), moment::show_span(by));
        ("ahead of clock", format!("{count}, {object} the furthest, by {by}"))
    }));
    printer.pairs(&pairs)?;
    for DoubtfulName { name, object, other } in &report.doubtful_names {
        let like =
            other.map_or("an id".to_string(), |other| format!("the id of {}", short(&other)));
        let whose = short(object);
        let name = format!("the name {name:?} of {whose}");
        printer.line(&format!("{name} reads as {like}: refer to it by its id"))?;
    }
    assert!(report.damage.len() as u64 <= report.damage_count, "what is listed is counted");
    for damage in &report.damage {
        printer.line(&format!("  {damage}"))?;
    }
    more(report.damage_count, report.damage.len(), printer)?;
    if report.lost_count > 0 {
        printer.line("lost by this damage")?;
        for lost in &report.lost {
            printer.line(&format!("  {lost}"))?;
        }
        more(report.lost_count, report.lost.len(), printer)?;
    }
    match report.consequence_count {
        0 => Ok(()),
        count => {
            let findings = "other findings, which may all follow from this damage, are not listed";
            printer.line(&format!("{} {findings}", grouped(count)))
        }
    }
}

/// Returns how many objects there are, and how many of them were deleted.
fn objects(report: &Report) -> String {
    let all = grouped(report.object_count);
    match report.deleted_count {
        0 => all,
        deleted => format!("{all}, {} of them deleted", grouped(deleted)),
    }
}

/// Says how many are not listed.
fn more(all: u64, listed: usize, printer: &mut Printer) -> Result<()> {
    match all - listed as u64 {
        0 => Ok(()),
        more => printer.line(&format!("  and {} more", grouped(more))),
    }
}
