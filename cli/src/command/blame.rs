//! `blame`: the version that gave a field the value that it has.

use clap::Args;
use continuant::Entry;

use super::history;
use crate::failure::Result;
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::table::Table;

/// Show the version that changed a field last
#[derive(Debug, Args)]
pub(crate) struct Blame {
    /// The object
    object: String,

    /// Path to the field
    path: String,
}

impl Blame {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.reading(|db| {
            let id = session::find(db, &self.object)?;
            let snapshot = db.snapshot(id)?;
            snapshot.definition().schema.resolve(&self.path)?;
            let entry = Entry::Version(db.blame(id, &self.path)?);
            let definition = db.definition(entry.under())?;
            if printer.is_json() {
                return printer.document(&history::document(&entry, &definition)?);
            }
            let mut table = Table::new(history::COLUMNS);
            table.row(printer, history::cells(&entry, &definition)?)?;
            table.end(printer)
        })
    }
}
