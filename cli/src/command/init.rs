//! `init`: makes an empty database.

use clap::Args;
use serde_json::json;

use crate::failure::Result;
use crate::printer::Printer;
use crate::target::{self, Target};

/// Make an empty database
///
/// Not needed before `create` and `import`, which make one when there is none.
#[derive(Debug, Args)]
pub(crate) struct Init {}

impl Init {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let directory = target.directory();
        target::require_new(&directory)?;
        target.with_new(|_| Ok(()))?;
        let made = directory.display().to_string();
        printer.done(format!("the database {made}"), json!({ "database": made }));
        match printer.is_json() {
            true => printer.document(&json!({ "database": made })),
            false => printer.pairs(&[("database", made)]),
        }
    }
}
