//! `policy`: changes the policy that an object carries.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::call::Signing;
use super::create::read_policy;
use crate::failure::Result;
use crate::printer::Printer;
use crate::receipt;
use crate::session::{self, Session};

/// Change the policy that an object carries
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    Amend(Amend),
}

/// Give an object another policy
///
/// Governed like any other change, by the policy that it has: the action is `amend`, and only a
/// rule that names it permits it.
#[derive(Debug, Args)]
pub(crate) struct Amend {
    /// The object
    object: String,

    /// The new policy, as Cedar text; `show --policy` prints the one that there is
    policy: PathBuf,

    #[command(flatten)]
    signing: Signing,
}

impl Policy {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        match self {
            Policy::Amend(amend) => amend.run(session, printer),
        }
    }
}

impl Amend {
    fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        let policy = read_policy(&self.policy)?;
        let keys = self.signing.keys()?;
        session.with(|db| {
            let id = session::find(db, &self.object)?;
            let receipt = self.signing.wait(db.amend(id, &policy), &keys)?;
            receipt::print(&receipt, printer)
        })
    }
}
