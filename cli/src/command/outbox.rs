//! `outbox`: what objects put out, for a program that takes it out into the world.

use clap::Args;
use continuant::Outgoing;
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::moment;
use crate::printer::Printer;
use crate::receipt;
use crate::session::{Session, short};
use crate::table::{Align, Table};

/// Give the outputs of all objects that were not given yet, oldest first
///
/// They count as given once all of them are printed; if that fails, they are given again. Each has
/// a token, by which a program can tell that it has seen it. As long as there is the outbox,
/// nothing is let go that it has not given.
#[derive(Debug, Args)]
pub(crate) struct Outbox {
    /// Whose outbox: each name is given every output
    name: String,
    /// Give so many at most
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    limit: usize,
    /// Let them count as not given
    #[arg(long)]
    peek: bool,
    /// Remove the outbox: nothing is kept for it any more
    #[arg(long, conflicts_with_all = ["limit", "peek"])]
    remove: bool,
}

impl Outbox {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.with(|db| {
            if self.remove {
                let removed = db.remove_outbox(&self.name)?;
                return match printer.is_json() {
                    true => printer.document(&json!({ "outbox": self.name, "removed": removed })),
                    false => printer.pairs(&[("removed", removed.to_string())]),
                };
            }
            if self.peek && !db.outboxes().contains(&self.name) {
                return Err(Failure::new("no-outbox", format!("no outbox {}", self.name)));
            }
            let mut outbox = db.outbox(&self.name)?;
            let mut table = Table::new([
                ("time", Align::Left),
                ("object", Align::Left),
                ("version", Align::Right),
                ("output", Align::Left),
            ]);
            let mut last = None;
            for _ in 0..self.limit {
                let Some(outgoing) = outbox.next_output()? else { break };
                match printer.is_json() {
                    true => printer.document(&document(&outgoing))?,
                    false => table.row(printer, cells(&outgoing))?,
                }
                last = Some(outgoing.place);
            }
            if !printer.is_json() {
                table.end(printer)?;
            }
            if let Some(place) = last.filter(|_| !self.peek) {
                printer.flush()?;
                outbox.acknowledge(place)?;
            }
            Ok(())
        })
    }
}

fn cells(outgoing: &Outgoing) -> [String; 4] {
    [
        moment::show(outgoing.time),
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
