//! `backup`: a copy of the database that is brought up to date again and again.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::failure::Result;
use crate::printer::Printer;
use crate::progress;
use crate::session::Session;
use crate::table::grouped;

/// Bring a backup up to date; make it when the directory is missing or empty
///
/// Only what the backup does not have is copied. `restore` makes a database of it again.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The directory of the backup
    to: PathBuf,
}

impl Backup {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.reading(|db| {
            let bar = progress::bytes("backing up", 0);
            let report = db.backup(&self.to, progress::follow(&bar))?;
            bar.finish_and_clear();
            let to = self.to.display().to_string();
            if printer.is_json() {
                return printer.document(&json!({
                    "backup": to,
                    "bytes": report.bytes,
                    "new_bytes": report.new_bytes,
                    "written_bytes": report.written_bytes,
                }));
            }
            printer.pairs(&[
                ("backup", to),
                ("bytes", grouped(report.bytes)),
                ("new", grouped(report.new_bytes)),
                ("written", grouped(report.written_bytes)),
            ])
        })
    }
}
