//! `advance`: runs an object's own cycle, when its wake is due.

use clap::Args;
use continuant::{Error, ErrorKind};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::{moment, receipt};

/// Run an object's own cycle, if its wake is due
#[derive(Debug, Args)]
pub(crate) struct Advance {
    /// The object
    object: String,
}

impl Advance {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.with(|db| {
            let id = session::find(db, &self.object)?;
            let receipt = db.advance(id).map_err(|error| explain(&self.object, error))?;
            receipt::print(&receipt, printer)
        })
    }
}

fn explain(object: &str, error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NotDue { wake: Some(wake) } => {
            let wake = moment::show(*wake);
            Failure::new("not-due", format!("{object} is not due: its next wake is at {wake}"))
        }
        ErrorKind::NotDue { wake: None } => {
            Failure::new("not-due", format!("{object} is not due: it wants no wake"))
        }
        _ => error.into(),
    }
}
