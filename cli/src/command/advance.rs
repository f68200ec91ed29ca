//! `advance`: runs an object's own cycle, when its wake is due.

use clap::Args;
use continuant::{Database, Error, ErrorKind};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::receipt;
use crate::refused::Asked;
use crate::target::{self, Target};

/// Run an object's own cycle, if its wake is due
#[derive(Debug, Args)]
pub(crate) struct Advance {
    /// The object
    object: String,
}

impl Advance {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            let asked = Asked { name: &self.object, id, action: "advance" };
            let receipt = db.advance(id).map_err(|error| explain(db, asked, error))?;
            receipt::print(&receipt, printer)
        })
    }
}

fn explain(db: &Database, asked: Asked<'_>, error: Error) -> Failure {
    let object = asked.name;
    match error.kind() {
        ErrorKind::NotDue { wake: Some(wake) } => {
            Failure::new("not-due", format!("{object} is not due: its next wake is at {wake}"))
        }
        ErrorKind::NotDue { wake: None } => {
            Failure::new("not-due", format!("{object} is not due: no wake is set"))
        }
        _ => asked.failure(db, error),
    }
}
