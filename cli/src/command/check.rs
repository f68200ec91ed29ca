//! `check`: walks the whole database and reports all damage.

use clap::Args;
use continuant::Ahead;
use continuant::storage::{Damage, DoubtfulName, Report};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::moment;
use crate::printer::Printer;
use crate::progress;
use crate::session::{Session, short};
use crate::table::grouped;

/// Check every byte of the database, and report all damage
///
/// Signatures, memory roots and admissions are for `verify --all`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Make the index anew from the log first: the log is the truth
    #[arg(long)]
    repair: bool,
}

impl Check {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        if self.repair {
            session.repair()?;
        }
        let (report, ahead) = session.reading(|db| {
            let bar = progress::bytes("checking", 0);
            let report = db.check(progress::follow(&bar));
            bar.finish_and_clear();
            let report = report?;
            // What is damaged may not be listed.
            let ahead = if report.is_sound() { db.ahead()? } else { None };
            Ok((report, ahead))
        })?;
        print(&report, ahead, printer)?;
        match report.damage_count {
            0 => Ok(()),
            1 => Err(Failure::damaged("damaged", "the database is damaged in one place")),
            count => {
                let count = grouped(count);
                Err(Failure::damaged(
                    "damaged",
                    format!("the database is damaged in {count} places"),
                ))
            }
        }
    }
}

fn print(report: &Report, ahead: Option<Ahead>, printer: &mut Printer) -> Result<()> {
    if printer.is_json() {
        return printer.document(&json!({
            "bytes": report.bytes,
            "frames": report.frame_count,
            "objects": report.object_count,
            "versions": report.version_count,
            "refusals": report.refusal_count,
            "doubtful_names": report.doubtful_names.iter().map(doubtful).collect::<Vec<_>>(),
            "ahead": ahead.map(|ahead| json!({
                "objects": ahead.object_count,
                "object": ahead.object.to_string(),
                "ahead_ms": ahead.by,
            })),
            "damage_count": report.damage_count,
            "damage": report.damage.iter().map(Damage::to_string).collect::<Vec<_>>(),
        }));
    }
    let mut pairs = vec![
        ("objects", grouped(report.object_count)),
        ("versions", grouped(report.version_count)),
        ("refusals", grouped(report.refusal_count)),
        ("frames", grouped(report.frame_count)),
        ("bytes", grouped(report.bytes)),
        ("damage", if report.is_sound() { "none".into() } else { grouped(report.damage_count) }),
    ];
    pairs.extend(ahead.map(|Ahead { object_count, object, by, .. }| {
        let (count, object, by) = (grouped(object_count), short(&object), moment::show_span(by));
        ("ahead of clock", format!("{count}, {object} the furthest, by {by}"))
    }));
    printer.pairs(&pairs)?;
    for DoubtfulName { name, object, other } in &report.doubtful_names {
        let like =
            other.map_or("an id".to_string(), |other| format!("the id of {}", short(&other)));
        let whose = short(object);
        printer.line(&format!("  the name {name:?} of {whose} reads as {like}: use its id"))?;
    }
    for damage in &report.damage {
        printer.line(&format!("  {damage}"))?;
    }
    let listed = report.damage.len() as u64;
    match report.damage_count - listed {
        0 => Ok(()),
        more => printer.line(&format!("  and {} more", grouped(more))),
    }
}

fn doubtful(DoubtfulName { name, object, other }: &DoubtfulName) -> Json {
    json!({
        "name": name,
        "object": object.to_string(),
        "other": other.map(|id| id.to_string()),
    })
}
