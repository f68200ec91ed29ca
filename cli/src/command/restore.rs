//! `restore`: a new database out of a backup, as of any moment.

use std::path::PathBuf;

use clap::Args;
use continuant::storage::{Options, Until};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::table::grouped;
use crate::{moment, progress};

/// Make the database, which must be new, out of a backup
///
/// It is the same database as of the moment: only one of the two should go on.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The directory of the backup
    from: PathBuf,

    /// As of this time; without it, all there is
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    until: Option<u64>,
}

impl Restore {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        let to = session.directory();
        session::require_new(&to)?;
        let bar = progress::bytes("restoring", 0);
        let until = self.until.map_or(Until::End, Until::Time);
        let follow = progress::follow(&bar);
        let options = Options::new().lock_wait(session.lock_wait());
        let restored = options.restore(&self.from, &to, until, follow).map_err(Failure::from);
        let report = restored.map_err(|failure| match failure.kind() {
            "locked" => session.explain(failure, &self.from),
            _ => failure,
        })?;
        bar.finish_and_clear();
        let to = to.display().to_string();
        match printer.is_json() {
            true => printer.document(&json!({ "database": to, "bytes": report.bytes })),
            false => printer.pairs(&[("database", to), ("bytes", grouped(report.bytes))]),
        }
    }
}
