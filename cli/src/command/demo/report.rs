//! The demo's final output: the month in figures, and the speed.
//!
//! This module does not know where the figures come from.

use std::time::Duration;

use continuant::Kind;
use serde_json::{Map, Value as Json, json};

use super::journey::Journey;
use super::totals::Totals;
use crate::failure::Result;
use crate::moment;
use crate::printer::Printer;
use crate::table::{Align, Table, grouped};

/// All that the demo found.
#[derive(Debug)]
pub(super) struct Report {
    /// The file's name.
    pub(super) flights: String,
    /// The number of rows in the file.
    pub(super) row_count: u64,
    pub(super) totals: Totals,
    /// The time from the first row until all were durable.
    pub(super) played: Duration,
    /// Lineages verified, and how long it took.
    pub(super) verified: (u64, Duration),
    /// Lineages replayed, and how long it took.
    pub(super) replayed: (u64, Duration),
    pub(super) journey: Option<Journey>,
    pub(super) bytes_on_disk: u64,
    /// The database's directory, when it is kept.
    pub(super) kept: Option<String>,
}

impl Report {
    pub(super) fn print(&self, printer: &mut Printer) -> Result<()> {
        if printer.is_json() { self.print_documents(printer) } else { self.print_table(printer) }
    }

    fn per_second(&self, took: Duration) -> u64 {
        (self.totals.versions as f64 / took.as_secs_f64().max(f64::EPSILON)) as u64
    }

    fn print_table(&self, printer: &mut Printer) -> Result<()> {
        let totals = &self.totals;
        printer.line(&format!("{} rows of {}", grouped(self.row_count), self.flights))?;
        printer.line("")?;
        let mut table = Table::new([("", Align::Left), ("", Align::Right)]);
        let mut row =
            |label: &str, number: u64| table.row(printer, [label.to_string(), grouped(number)]);
        row("objects", totals.aircraft)?;
        row("versions", totals.versions)?;
        row("fly", totals.flights)?;
        row("cancel", totals.cancellations)?;
        row("divert", totals.diversions)?;
        row("refused", totals.refused)?;
        for (rule, count) in &totals.refused_by {
            row(&format!("  by {rule}"), *count)?;
        }
        row("notices", totals.notices)?;
        row("inspections", totals.inspections)?;
        row("minutes", totals.minutes)?;
        row("miles", totals.miles)?;
        row("lineages verified", self.verified.0)?;
        row("lineages replayed", self.replayed.0)?;
        row("commits/s", self.per_second(self.played))?;
        row("versions verified/s", self.per_second(self.verified.1))?;
        row("versions replayed/s", self.per_second(self.replayed.1))?;
        row("bytes on disk", self.bytes_on_disk)?;
        table.end(printer)?;
        self.print_journey(printer)?;
        match &self.kept {
            Some(directory) => printer.line(&format!("the database is in {directory}")),
            None => Ok(()),
        }
    }

    fn print_journey(&self, printer: &mut Printer) -> Result<()> {
        printer.line("")?;
        let Some(journey) = &self.journey else { return Ok(()) };
        let (name, bytes) = (&journey.name, grouped(journey.bytes));
        let (left, seq, time) = (journey.left, journey.seq, journey.time);
        let what = if journey.kind == Kind::Cycle { "was inspected" } else { "cancelled a flight" };
        printer.line(&format!(
            "{name} left as version {left} in {bytes} bytes, was verified and replayed in a second"
        ))?;
        printer.line(&format!("database, and {what} there: version {seq}, {time}"))
    }

    /// A line for each phase, the figures last.
    fn print_documents(&self, printer: &mut Printer) -> Result<()> {
        let totals = &self.totals;
        let phase = |name: &str, took: Duration| {
            let (seconds, rate) = (took.as_secs_f64(), self.per_second(took));
            json!({ "phase": name, "seconds": seconds, "versions_per_second": rate })
        };
        printer.document(&phase("play", self.played))?;
        printer.document(&phase("verify", self.verified.1))?;
        printer.document(&phase("replay", self.replayed.1))?;
        if let Some(journey) = &self.journey {
            printer.document(&json!({
                "phase": "move",
                "name": journey.name,
                "bytes": journey.bytes,
                "left": journey.left,
                "seq": journey.seq,
                "kind": journey.kind.name(),
                "time": moment::json(journey.time),
            }))?;
        }
        let refused_by = totals.refused_by.iter();
        let refused_by = refused_by.map(|(rule, count)| (rule.clone(), Json::from(*count)));
        printer.document(&json!({
            "aircraft": totals.aircraft,
            "fly": totals.flights,
            "cancel": totals.cancellations,
            "divert": totals.diversions,
            "refused": totals.refused,
            "refused_by": refused_by.collect::<Map<_, _>>(),
            "notices": totals.notices,
            "inspections": totals.inspections,
            "minutes": totals.minutes,
            "miles": totals.miles,
            "versions": totals.versions,
            "commits_per_second": self.per_second(self.played),
            "verified": self.verified.0,
            "replayed": self.replayed.0,
            "bytes_on_disk": self.bytes_on_disk,
        }))
    }
}
