//! `export`: an object as one file, that any host can verify and continue.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Database, ObjectId};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::{progress, table};

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
            if !self.force && self.file.exists() {
                let path = self.file.display();
                return Err(Failure::new(
                    "exists",
                    format!("{path} exists: --force writes over it"),
                ));
            }
            let bytes = write(db, id, &self.file)?;
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

/// Writes the capsule, to a file beside `path` first so that `path` is never half of one; gives
/// its length.
pub(super) fn write(db: &Database, id: ObjectId, path: &Path) -> Result<u64> {
    let fail = |error: std::io::Error| Failure::file("writing", path, &error);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A capsule is for others: as readable as any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let part = builder.tempfile_in(folder).map_err(fail)?;
    let bar = progress::growing("exporting");
    let mut out = BufWriter::new(bar.wrap_write(part.as_file()));
    db.export(id, &mut out)?;
    out.flush().map_err(fail)?;
    drop(out);
    bar.finish_and_clear();
    part.as_file().sync_all().map_err(fail)?;
    let file: File = part.persist(path).map_err(|error| fail(error.error))?;
    Ok(file.metadata().map_err(fail)?.len())
}
