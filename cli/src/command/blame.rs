//! `blame`: the version that gave a field its value.

use clap::Args;
use continuant::{Blame as Blamed, Entry, Kept, ObjectId, TrailEnd};
use serde_json::{Value as Json, json};

use super::history;
use crate::failure::Result;
use crate::printer::Printer;
use crate::table::Table;
use crate::target::{self, Target, short};

/// Show the version that changed a field last, and why it is that one
///
/// The trail goes back through upgrades that kept the field with its type and its value, and from a
/// fork's first version to its original version, if that is in this database. It ends with the
/// version that gave the field its value, or where nothing older can be compared.
#[derive(Debug, Args)]
pub(crate) struct Blame {
    /// The object
    object: String,

    /// Path to the field
    path: String,
}

impl Blame {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let blamed = db.blame(id, &self.path)?;
            let Blamed { object, entry, end, kept } = blamed;
            let entry = Entry::Version(entry);
            let definition = db.definition(entry.under())?;
            if printer.is_json() {
                let mut document = history::document(&entry, &definition)?;
                document["object"] = object.to_string().into();
                document["end"] = end_document(end);
                document["kept"] = kept.iter().map(kept_document).collect();
                return printer.document(&document);
            }
            let mut table = Table::new(history::COLUMNS);
            table.row(printer, history::cells(&entry, &definition)?)?;
            table.end(printer)?;
            for kept in &kept {
                printer.line(&show_kept(kept, id))?;
            }
            printer.line(&show_end(end))
        })
    }
}

/// Names the object of a version, if it is another one than was asked about.
fn of(object: ObjectId, asked: ObjectId) -> String {
    if object == asked { String::new() } else { format!(" of {}", short(&object)) }
}

fn show_kept(kept: &Kept, asked: ObjectId) -> String {
    match *kept {
        Kept::Upgrade { object, seq } => {
            format!("kept by the upgrade to version {seq}{}", of(object, asked))
        }
        Kept::Fork { of, seq, .. } => {
            format!("kept by the fork of version {seq} of {}", short(&of))
        }
        _ => "kept".to_string(),
    }
}

fn show_end(end: TrailEnd) -> String {
    let shown = match end {
        TrailEnd::Changed => "the version before has another value",
        TrailEnd::Created => "the object was created with this value",
        TrailEnd::NewField => "an upgrade added the field: the code before did not have it",
        TrailEnd::OtherType => "an upgrade gave the field another type",
        TrailEnd::ParentNotHere { object, seq } => {
            let made = "the fork was made with this value";
            return format!("{made}; version {seq} of {object} is not in this database");
        }
        TrailEnd::Dropped => {
            "the value is as old as this version, or older: retention dropped those before"
        }
        _ => "the trail ends here",
    };
    shown.to_string()
}

fn kept_document(kept: &Kept) -> Json {
    match *kept {
        Kept::Upgrade { object, seq } => {
            json!({ "kind": "upgrade", "object": object.to_string(), "seq": seq })
        }
        Kept::Fork { object, of, seq } => json!({
            "kind": "fork",
            "object": object.to_string(),
            "of": { "object": of.to_string(), "seq": seq },
        }),
        _ => Json::Null,
    }
}

fn end_document(end: TrailEnd) -> Json {
    match end {
        TrailEnd::Changed => "changed".into(),
        TrailEnd::Created => "created".into(),
        TrailEnd::NewField => "new-field".into(),
        TrailEnd::OtherType => "other-type".into(),
        TrailEnd::ParentNotHere { .. } => "parent-not-here".into(),
        TrailEnd::Dropped => "dropped".into(),
        _ => Json::Null,
    }
}
