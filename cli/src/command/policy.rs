//! `policy`: changes the policy that an object carries, and names one by its hash.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use continuant::object::policy;
use serde_json::json;

use super::call::Signing;
use super::create::read_policy;
use crate::failure::Result;
use crate::printer::Printer;
use crate::receipt;
use crate::session::{self, Session};

/// Change the policy that an object carries, or say the hash of one
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    Amend(Amend),
    Hash(Hash),
}

/// Print the hash of a policy, by which a rule knows it: `context.policy`
#[derive(Debug, Args)]
pub(crate) struct Hash {
    /// The policy, as Cedar text
    policy: PathBuf,
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
            Policy::Hash(hash) => hash.run(printer),
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

impl Hash {
    fn run(self, printer: &mut Printer) -> Result<()> {
        let hash = policy::Policy::hash_of(&read_policy(&self.policy)?).to_string();
        if printer.is_json() {
            return printer.document(&json!({ "policy": hash }));
        }
        printer.line(&hash)
    }
}
