//! `dry-run`: shows the outcome of an input, without making it.

use clap::Args;

use super::call::Signing;
use super::explain::{self, About};
use crate::failure::{Failure, Result, refusal};
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::typed;

/// Show the outcome of an input, and why, and change nothing
///
/// The input is run and decided on as if it came next, behind the wakes that are due. Nothing is
/// committed or put on record, and no nonce is used up. The exit code is 3 when the input would be
/// refused.
#[derive(Debug, Args)]
pub(crate) struct DryRun {
    /// The flag of `admit --dry-run`, as this command was called
    #[arg(long = "dry-run", hide = true)]
    _is_dry_run: bool,

    /// The object
    object: String,

    /// The method; or `write`
    method: String,

    /// The method's arguments, as `call` takes them; for `write`, fields and values as PATH=VALUE
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    signing: Signing,
}

/// The action of a direct write, which no method may have as its name.
const WRITE: &str = "write";

impl DryRun {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let secrets = self.signing.secrets()?;
        let words = match self.method == WRITE {
            true => typed::given_fields(&self.arguments)?,
            false => typed::given(&self.arguments)?,
        };
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let snapshot = db.snapshot(id)?;
            let definition = snapshot.definition();
            let schema = &definition.schema;
            let call = if self.method == WRITE {
                db.write(id, typed::fields(&words, schema)?)
            } else {
                let params = &schema.require_method(&self.method)?.params;
                let arguments = typed::arguments(&self.method, &words, params)?;
                db.call(id, &self.method, arguments)
            };
            let explanation = self.signing.sign(db, call, &secrets)?.dry_run()?;
            explain::print(&explanation, About::DryRun, definition, printer)?;
            match explanation.verdict {
                Ok(_) => Ok(()),
                Err(verdict) => {
                    let message = format!("{} would refuse the input: {verdict}", self.object);
                    Err(Failure::refused(message).with_details(refusal(&verdict)))
                }
            }
        })
    }
}
