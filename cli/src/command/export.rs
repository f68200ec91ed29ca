//! `export`: an object as one file, that any host can verify and continue.

use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Database, ObjectId};
use serde_json::json;

use crate::failure::Result;
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::{files, progress, table};

/// Export an object, whole, as one file: a capsule
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The object
    object: String,

    /// The capsule to write
    file: PathBuf,

    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

impl Export {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.reading(|db| {
            let id = session::find(db, &self.object)?;
            let bytes = write(db, id, &self.file, self.force)?;
            let file = self.file.display().to_string();
            match printer.is_json() {
                true => {
                    let id = id.to_string();
                    printer.document(&json!({ "object": id, "file": file, "bytes": bytes }))
                }
                false => printer.pairs(&[
                    ("object", id.to_string()),
                    ("file", file),
                    ("bytes", table::grouped(bytes)),
                ]),
            }
        })
    }
}

/// Writes the capsule, and gives its length.
pub(super) fn write(db: &Database, id: ObjectId, path: &Path, force: bool) -> Result<u64> {
    let bar = progress::growing("exporting");
    let written = files::write(path, force, |out| Ok(db.export(id, &mut bar.wrap_write(out))?));
    bar.finish_and_clear();
    written
}
