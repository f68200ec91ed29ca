//! `outbox`: the outputs of objects, for a program that passes them to the outside world.

use clap::Args;
use continuant::{Database, Outgoing};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::{Align, Table, grouped};
use crate::target::{Target, short};
use crate::{aside, moment, number, progress, receipt, stop};

/// Print the outputs of all objects that the outbox has not given yet, oldest first
///
/// The outputs count as given once all of them are printed; if that fails, they are given again.
/// Each has a token, by which a program can recognize an output that it has seen. While the outbox
/// exists, no version is dropped whose outputs it has not given. Without a name, lists the
/// outboxes, with what each holds back.
#[derive(Debug, Args)]
pub(crate) struct Outbox {
    /// The name of the outbox: each outbox gives every output
    name: Option<String>,
    /// Make the outbox, which must not exist yet: it gives all outputs that are still on record
    #[arg(long, requires = "name")]
    new: bool,
    /// Give at most this many
    #[arg(long, value_name = "COUNT", value_parser = number::parse::<usize>,
          default_value_t = 1000)]
    limit: usize,
    /// Print the outputs without counting them as given
    #[arg(long, requires = "name")]
    peek: bool,
    /// Remove the outbox: nothing is kept for it any more
    #[arg(long, requires = "name", conflicts_with_all = ["new", "limit", "peek"])]
    remove: bool,
}

impl Outbox {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let Some(name) = &self.name else { return target.reading(|db| list(db, printer)) };
        if self.peek && !self.new {
            return target.reading(|db| self.give(db, name, printer));
        }
        target.with(|db| match self.remove {
            true => remove(db, name, printer),
            false => self.give(db, name, printer),
        })
    }

    /// Prints the outputs that the outbox has not given.
    fn give(&self, db: &Database, name: &str, printer: &mut Printer) -> Result<()> {
        let is_there = db.outboxes().iter().any(|known| known == name);
        let mut outbox = match (is_there, self.new) {
            (true, false) => db.outbox(name)?,
            (false, true) => {
                let made = db.create_outbox(name)?;
                let what = format!("the outbox {name:?} is made, and has given nothing yet");
                printer.done(what, json!({ "outbox": name, "new": true }));
                made
            }
            (true, true) => {
                let message = format!("the outbox {name:?} exists already: leave --new out");
                return Err(Failure::new("exists", message));
            }
            (false, false) => return Err(no_outbox(name)),
        };
        let mut table = Table::new([
            ("time", Align::Left),
            ("object", Align::Left),
            ("version", Align::Right),
            ("output", Align::Left),
        ]);
        let (mut last, mut count) = (None, 0_u64);
        let mut looking = Some(progress::busy("looking"));
        let _orderly = stop::orderly();
        for _ in 0..self.limit {
            let next = outbox.next().transpose()?;
            // Nothing is shown where outputs are printed.
            drop(looking.take());
            let Some(outgoing) = next else { break };
            match printer.is_json() {
                true => printer.document(&document(&outgoing))?,
                false => table.row(printer, cells(&outgoing))?,
            }
            last = Some(outgoing.place);
            count += 1;
            if stop::asked().is_some() {
                break;
            }
        }
        if !printer.is_json() && last.is_some() {
            table.end(printer)?;
        }
        if last.is_none() && self.limit > 0 {
            aside::note(printer, "no-outputs", "there are no new outputs");
        }
        if let Some(place) = last.filter(|_| !self.peek) {
            printer.flush()?;
            outbox.acknowledge(place)?;
        }
        match stop::asked() {
            Some(signal) => Err(Failure::stopped(signal, format!("{count} outputs were given"))),
            None => Ok(()),
        }
    }
}

fn no_outbox(name: &str) -> Failure {
    let ways = "`continuant outbox` lists the outboxes, and --new makes one";
    Failure::missing("no-outbox", format!("no outbox {name:?}: {ways}"))
}

fn remove(db: &Database, name: &str, printer: &mut Printer) -> Result<()> {
    if !db.remove_outbox(name)? {
        return Err(no_outbox(name));
    }
    let document = json!({ "outbox": name, "removed": true });
    printer.done(format!("the outbox {name:?} is removed"), document.clone());
    match printer.is_json() {
        true => printer.document(&document),
        false => printer.pairs(&[("removed", name.to_string())]),
    }
}

/// Prints the outboxes, and the versions that each holds back.
fn list(db: &Database, printer: &mut Printer) -> Result<()> {
    let outboxes = db.outbox_status()?;
    if outboxes.is_empty() {
        let message = "there is no outbox: `continuant outbox NAME --new` makes one";
        aside::note(printer, "no-outboxes", message);
        return Ok(());
    }
    if printer.is_json() {
        return outboxes.iter().try_for_each(|outbox| {
            printer.document(&json!({
                "outbox": outbox.name,
                "position": outbox.place.position().to_string(),
                "acknowledged": moment::json(outbox.acknowledged),
                "outputs_behind": outbox.behind_count,
                "bytes_held": outbox.held_bytes,
            }))
        });
    }
    let mut table = Table::new([
        ("outbox", Align::Left),
        ("position", Align::Right),
        ("given up to", Align::Left),
        ("outputs not given", Align::Right),
        ("bytes held back", Align::Right),
    ]);
    for outbox in outboxes {
        table.row(
            printer,
            [
                outbox.name,
                outbox.place.position().to_string(),
                outbox.acknowledged.map_or(String::new(), |time| time.to_string()),
                grouped(outbox.behind_count),
                grouped(outbox.held_bytes),
            ],
        )?;
    }
    table.end(printer)
}

fn cells(outgoing: &Outgoing) -> [String; 4] {
    [
        outgoing.time.to_string(),
        short(&outgoing.object),
        outgoing.seq.to_string(),
        receipt::show_output(&outgoing.output),
    ]
}

fn document(outgoing: &Outgoing) -> Json {
    json!({
        "token": outgoing.token(),
        "object": outgoing.object.to_string(),
        "seq": outgoing.seq,
        "version": outgoing.version.to_string(),
        "index": outgoing.index,
        "time": moment::json(outgoing.time),
        "output": receipt::output(&outgoing.output),
    })
}
