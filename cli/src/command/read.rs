//! `read`: an object's state as a principal may read it.

use std::str::FromStr;

use clap::Args;
use continuant::{Principal, PublicKey, Value};
use serde_json::json;

use super::at::Moment;
use super::show::VALUE_CHARS_MAX;
use crate::failure::Result;
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::typed;

/// Read the fields of an object that its policy lets a principal read
///
/// The action is `read`, the field is in `context.field`. No proof of the principal is asked for:
/// `get` and `show` print everything anyway to anyone who has the database.
#[derive(Debug, Args)]
pub(crate) struct Read {
    /// The object
    object: String,

    /// Path to a field; without it, all fields that may be read
    path: Option<String>,

    /// The reading principal: a public key, or `anonymous`
    #[arg(long = "as", value_name = "KEY|anonymous")]
    reader: Who,

    /// Read this version, by its number or by a time, instead of the newest
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<Moment>,
}

/// The reading principal.
#[derive(Clone, Copy, Debug)]
struct Who(Principal);

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Who, String> {
        if text == "anonymous" {
            return Ok(Who(Principal::Anonymous));
        }
        let key = text.parse::<PublicKey>();
        let expected = || "expected `anonymous` or the 64 hexadecimal digits of a public key";
        key.map(|key| Who(Principal::Key(key.0))).map_err(|_| expected().to_string())
    }
}

impl Read {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let reader = db.reader(self.reader.0);
            let snapshot = match self.at {
                Some(Moment::Seq(seq)) => reader.at(id, seq)?,
                Some(Moment::Time(time)) => reader.as_of(id, time)?,
                None => reader.snapshot(id)?,
            };
            let (object, seq) = (id.to_string(), snapshot.header().seq);
            if let Some(path) = self.path {
                let value = snapshot.value(&path)?;
                return match printer.is_json() {
                    true => printer.document(&json!({
                        "object": object, "seq": seq, "path": path, "value": value.to_json(),
                    })),
                    false => printer.value(&typed::show(&value)),
                };
            }
            let state = snapshot.state()?;
            if printer.is_json() {
                let state = state.to_json();
                return printer.document(&json!({ "object": object, "seq": seq, "state": state }));
            }
            let Value::Record(fields) = state else { return Ok(()) };
            if fields.is_empty() {
                return printer.line("no field that this principal may read");
            }
            let shown = fields
                .iter()
                .map(|(name, value)| (name.as_str(), typed::brief(value, VALUE_CHARS_MAX)));
            printer.pairs(&shown.collect::<Vec<_>>())
        })
    }
}
