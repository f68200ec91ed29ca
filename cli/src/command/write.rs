//! `write`: writes state fields directly, within the object's policy.

use clap::Args;

use super::call::Signing;
use crate::failure::Result;
use crate::printer::Printer;
use crate::refused::Asked;
use crate::target::{self, Target};
use crate::{receipt, typed};

/// Write state fields directly
///
/// Governed like any other change: the policy's action is `write`. Strings and lists, which have
/// no fixed size, are written by methods only.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// The object
    object: String,

    /// Fields and their new values: JSON, or bare words typed by the schema
    #[arg(required = true, value_name = "PATH=VALUE")]
    fields: Vec<String>,

    #[command(flatten)]
    signing: Signing,
}

impl Write {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let secrets = self.signing.secrets()?;
        let words = typed::given_fields(&self.fields)?;
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            let snapshot = db.snapshot(id)?;
            let schema = &snapshot.definition().schema;
            let fields = typed::fields(&words, schema)?;
            let asked = Asked { name: &self.object, id, action: "write" };
            let receipt = self.signing.wait((db, asked), db.write(id, fields), &secrets)?;
            receipt::print(&receipt, printer)
        })
    }
}
