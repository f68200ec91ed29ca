//! `run`: runs the own cycles of all objects, those due now or all that come due in a while.

use std::thread;
use std::time::Duration;

use clap::Args;
use continuant::{Database, ObjectId};
use serde_json::json;

use crate::failure::Result;
use crate::moment;
use crate::printer::Printer;
use crate::session::{Session, short};
use crate::table::{Align, Table};

/// The longest wait before the clock is looked at again: it may be set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Run own cycles: those that are due, or all that come due in a while
///
/// Nothing else has to run for objects to be woken: this may be a line in a crontab. Prints what
/// each object that was woken did.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Stay for so long, and run each cycle when it is due
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::parse_span)]
    span: Option<u64>,

    /// Stay until then, and run each cycle when it is due
    #[arg(long, value_name = "TIME", value_parser = moment::parse, conflicts_with = "span")]
    until: Option<u64>,
}

/// An object that wants to be woken.
struct Sleeper {
    id: ObjectId,
    name: Option<String>,
    seq: u64,
    refusal_count: u64,
}

impl Run {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.with(|db| {
            let before = sleepers(db)?;
            let start = db.now();
            let until = self.until.or(self.span.map(|span| start.saturating_add(span)));
            stay(db, until.unwrap_or(start))?;
            print(db, before, printer)
        })
    }
}

/// Runs what is due, then what comes due until `until`.
fn stay(db: &Database, until: u64) -> Result<()> {
    loop {
        db.run_until(db.now())?;
        let now = db.now();
        if now >= until {
            return Ok(());
        }
        let next = db.next_wake().map_or(until, |wake| wake.min(until));
        let wait = Duration::from_millis(next.saturating_sub(now)).min(WAIT_MAX);
        // May return early; the loop looks at the clock.
        thread::park_timeout(wait);
    }
}

fn sleepers(db: &Database) -> Result<Vec<Sleeper>> {
    let mut sleepers = Vec::new();
    for info in db.objects() {
        let info = info?;
        if info.wake.is_some() {
            let (id, name, seq) = (info.id, info.name, info.seq);
            sleepers.push(Sleeper { id, name, seq, refusal_count: info.refusal_count });
        }
    }
    Ok(sleepers)
}

fn print(db: &Database, before: Vec<Sleeper>, printer: &mut Printer) -> Result<()> {
    let mut table = Table::new([
        ("object", Align::Left),
        ("versions", Align::Right),
        ("refusals", Align::Right),
        ("next wake", Align::Left),
        ("name", Align::Left),
    ]);
    let mut any = false;
    for sleeper in before {
        let info = db.info(sleeper.id)?;
        let versions = info.seq - sleeper.seq;
        let refusals = info.refusal_count - sleeper.refusal_count;
        if (versions, refusals) == (0, 0) {
            continue;
        }
        any = true;
        if printer.is_json() {
            printer.document(&json!({
                "object": info.id.to_string(),
                "name": sleeper.name,
                "versions": versions,
                "refusals": refusals,
                "wake": moment::json(info.wake),
            }))?;
            continue;
        }
        let wake = info.wake.map_or("-".to_string(), moment::show);
        let name = sleeper.name.unwrap_or_default();
        let cells = [short(&info.id), versions.to_string(), refusals.to_string(), wake, name];
        table.row(printer, cells)?;
    }
    match (printer.is_json(), any) {
        (true, _) => Ok(()),
        (false, true) => table.end(printer),
        (false, false) => printer.line("no object was due"),
    }
}
