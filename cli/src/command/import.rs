//! `import`: takes an object in from a capsule, after verifying and replaying all of it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Database, ObjectId};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::moment;
use crate::printer::Printer;
use crate::progress;
use crate::session::Session;

/// Import an object from a capsule, after verifying and replaying its whole lineage
///
/// The database is made when there is none. From then on the object goes on here.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The capsule
    file: PathBuf,
}

impl Import {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        // A capsule that is not there leaves no database behind.
        open(&self.file)?;
        session.with_new(|db| {
            let id = read(db, &self.file)?;
            let info = db.info(id)?;
            match printer.is_json() {
                true => printer.document(&json!({
                    "object": id.to_string(),
                    "seq": info.seq,
                    "hash": info.hash.to_string(),
                    "wake": moment::json(info.wake),
                })),
                false => printer.pairs(&[
                    ("object", id.to_string()),
                    ("version", info.seq.to_string()),
                    ("hash", info.hash.to_string()),
                    ("next wake", info.wake.map_or("none".to_string(), moment::show)),
                ]),
            }
        })
    }
}

/// Opens a capsule; gives its length too.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    let opened = File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    opened.map_err(|error| Failure::file("reading", path, &error))
}

/// Takes in the capsule at `path`.
pub(super) fn read(db: &Database, path: &Path) -> Result<ObjectId> {
    let (file, length) = open(path)?;
    // It is read twice: to verify it, then to append it.
    let bar = progress::bytes("importing", 2 * length);
    let imported = db.import(bar.wrap_read(BufReader::new(file)));
    bar.finish_and_clear();
    imported.map_err(|error| {
        let failure = Failure::from(error);
        let failure = match failure.kind() {
            "conflict" => Failure::new("exists", "the object is in this database already"),
            _ => failure,
        };
        failure.about(path.display())
    })
}
