//! `diff`: the differences between two versions of an object.

use clap::Args;
use continuant::{FieldChange, Value};
use serde_json::{Map, Value as Json, json};

use super::at::Moment;
use super::show;
use crate::failure::Result;
use crate::printer::Printer;
use crate::table::{Align, Table};
use crate::target::{self, Target};
use crate::typed;

/// Show the differences between two versions
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The object
    object: String,

    /// The first version: its number, or a time
    #[arg(value_name = "SEQ|TIME")]
    from: Moment,

    /// The second [default: the newest]
    #[arg(value_name = "SEQ|TIME")]
    to: Option<Moment>,
}

impl Diff {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let from = self.from.snapshot(db, id)?;
            let to = match self.to {
                Some(moment) => moment.snapshot(db, id)?,
                None => db.snapshot(id)?,
            };
            let (from, to) = (from.header().seq, to.header().seq);
            let diff = db.diff(id, from, to)?;
            if printer.is_json() {
                return printer.document(&json!({
                    "object": id.to_string(),
                    "from": from,
                    "to": to,
                    "fields": diff.fields.iter().map(document).collect::<Vec<_>>(),
                    "pages": diff.pages,
                }));
            }
            let before = format!("version {from}");
            let after = format!("version {to}");
            let mut table = Table::new([
                ("field", Align::Left),
                (before.as_str(), Align::Left),
                (after.as_str(), Align::Left),
            ]);
            let brief = |value: &Option<Value>| match value {
                Some(value) => typed::brief(value, show::VALUE_CHARS_MAX),
                None => "no such field".to_string(),
            };
            for change in &diff.fields {
                let (before, after) = (brief(&change.before), brief(&change.after));
                table.row(printer, [change.path.clone(), before, after])?;
            }
            if !diff.fields.is_empty() {
                table.end(printer)?;
            }
            let pages = diff.pages.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            printer.line(&match diff.pages.is_empty() {
                true => "the memory is the same".to_string(),
                false => format!("pages that differ: {pages}"),
            })
        })
    }
}

fn document(change: &FieldChange) -> Json {
    let mut document = Map::from_iter([("path".to_string(), json!(change.path))]);
    let values = [("before", &change.before), ("after", &change.after)];
    // A field that did not exist differs from a field without a value.
    let values = values.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    document.extend(values.map(|(name, value)| (name.to_string(), value.to_json())));
    Json::Object(document)
}
