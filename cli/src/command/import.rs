//! `import`: takes an object in from a capsule, after verifying and replaying all of it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Database, ObjectId};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::Session;
use crate::{files, moment, progress};

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
        if files::is_stream(&self.file) {
            let file = self.file.display();
            let problem = "is no plain file: a capsule is read twice; copy it to one first";
            return Err(Failure::new("stream", format!("{file} {problem}")));
        }
        open(&self.file)?;
        let made = session.to_be_made();
        let made = made.map(|made| made.display().to_string());
        session.with_new(|db| {
            let id = read(db, &self.file)?;
            let info = db.info(id)?;
            if printer.is_json() {
                let mut document = json!({
                    "object": id.to_string(),
                    "seq": info.seq,
                    "hash": info.hash.to_string(),
                    "wake": moment::json(info.wake),
                });
                if let Some(made) = made {
                    document["new_database"] = made.into();
                }
                return printer.document(&document);
            }
            let mut pairs = vec![
                ("object", id.to_string()),
                ("version", info.seq.to_string()),
                ("hash", info.hash.to_string()),
                ("next wake", info.wake.map_or("none".to_string(), moment::show)),
            ];
            pairs.extend(made.map(|made| ("new database", made)));
            printer.pairs(&pairs)
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
