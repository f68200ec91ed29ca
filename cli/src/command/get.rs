//! `get`: one field of an object's state, in place, in any version.

use clap::Args;
use continuant::object;
use serde_json::json;

use super::at::Moment;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::typed;

/// Get a field of an object's state
///
/// A text goes into a file or a pipe unchanged; for a terminal, characters that it would obey are
/// written out, such as `\u{1b}`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The object
    object: String,

    /// Path to the field, such as `minutes` or `legs.0.origin`
    path: String,

    /// In this version, by its number or by a time, instead of the newest
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<Moment>,
}

impl Get {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let snapshot = match self.at {
                Some(moment) => moment.snapshot(db, id)?,
                None => db.snapshot(id)?,
            };
            let value = snapshot.value(&self.path).map_err(|error| match error.kind() {
                // A list of an admitted version that is shorter than the path says.
                object::ErrorKind::State { .. } => Failure::usage(error.to_string()),
                _ => error.into(),
            })?;
            match printer.is_json() {
                true => printer.document(&json!({
                    "object": id.to_string(),
                    "seq": snapshot.header().seq,
                    "path": self.path,
                    "value": value.to_json(),
                })),
                false => printer.value(&typed::show(&value)),
            }
        })
    }
}
