//! `delete`: ends an object, within its policy.

use clap::Args;

use super::call::Signing;
use crate::failure::Result;
use crate::printer::Printer;
use crate::receipt;
use crate::refused::Asked;
use crate::target::{self, Target};

/// Delete an object, for good
///
/// Governed like any other change: the policy's action is `delete`, and only a rule that names it
/// permits it. The version is the object's last: it wakes no more, its sessions are closed, its
/// name is free, and messages on their way to it are dead letters. It can still be read, verified
/// and exported.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The object
    object: String,

    #[command(flatten)]
    signing: Signing,
}

impl Delete {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let secrets = self.signing.secrets()?;
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            let asked = Asked { name: &self.object, id, action: "delete" };
            let receipt = self.signing.wait((db, asked), db.delete(id), &secrets)?;
            receipt::print(&receipt, printer)
        })
    }
}
