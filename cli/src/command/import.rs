//! `import`: imports an object from a capsule, after verifying and replaying all of it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Database, ObjectId, ObjectInfo, Replay, storage, verify_capsule};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::Target;
use crate::{aside, files, moment, progress};

/// Import an object from a capsule, after verifying and replaying its whole lineage
///
/// The database is made if there is none, once the capsule is verified. From then on the object
/// continues here. An object that is here already is continued by the capsule, if its lineage here
/// is the beginning of the capsule's, and keeps its name.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The capsule
    file: PathBuf,

    /// A name by which this database knows the object
    #[arg(long)]
    name: Option<String>,
}

impl Import {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        // A capsule that is not there leaves no database behind.
        if files::is_stream(&self.file) {
            let file = self.file.display();
            let problem = "is not a regular file: a capsule is read twice, so copy it to a file \
                           first";
            return Err(Failure::new("stream", format!("{file} {problem}")));
        }
        open(&self.file)?;
        let made = target.to_be_made();
        if made.is_some() {
            // A capsule that does not verify, or cannot have the name, leaves no database behind.
            self.require_whole()?;
        }
        let made = made.map(|made| made.display().to_string());
        target.with_new(|db| {
            let id = read(db, &self.file, self.name.as_deref())?;
            printer.done(format!("object {id} is imported"), json!({ "object": id.to_string() }));
            let info = db.info(id)?;
            warn_of_policy(db, &info)?;
            let (seq, hash) = (info.seq, info.hash.to_string());
            let what = format!("object {id} is imported, up to version {seq}, hash {hash}");
            printer.done(what, json!({ "object": id.to_string(), "seq": seq, "version": hash }));
            if printer.is_json() {
                let mut document = json!({
                    "object": id.to_string(),
                    "name": info.name,
                    "seq": info.seq,
                    "hash": info.hash.to_string(),
                    "wake": moment::json(info.wake),
                    "time": moment::json(info.time),
                    "ahead_ms": moment::milliseconds(info.time.saturating_duration_since(db.now())),
                });
                if let Some(made) = made {
                    document["new_database"] = made.into();
                }
                return printer.document(&document);
            }
            let mut pairs = vec![("object", id.to_string())];
            pairs.extend(info.name.map(|name| ("name", name)));
            pairs.extend([
                ("version", info.seq.to_string()),
                ("hash", info.hash.to_string()),
                ("time", moment::show_by(info.time, db.now())),
                ("next wake", info.wake.map_or("none".to_string(), |time| time.to_string())),
            ]);
            pairs.extend(made.map(|made| ("new database", made)));
            printer.pairs(&pairs)
        })
    }

    /// Checks that the capsule verifies and replays, before a database is made for it.
    fn require_whole(&self) -> Result<()> {
        let (file, length) = open(&self.file)?;
        let bar = progress::bytes("verifying", length);
        let verified = verify_capsule(bar.wrap_read(BufReader::new(file)), Replay::Yes);
        bar.finish_and_clear();
        verified.map_err(|error| Failure::from(error).about(self.file.display()))?;
        Ok(self.name.as_deref().map_or(Ok(()), storage::require_name)?)
    }
}

/// Warns if the object's policy has a fault for which a new policy would be refused; the policy
/// decides on the object's steps all the same.
fn warn_of_policy(db: &Database, info: &ObjectInfo) -> Result<()> {
    let definition = db.definition((info.code, info.policy))?;
    if let Err(error) = definition.policy.validate() {
        let found = Failure::from(error);
        let found = found.message();
        let what = "the object keeps its policy, which this version of the program would refuse as \
                    a new one";
        aside::warn("policy", &format!("{what}: {found}"));
    }
    Ok(())
}

/// Opens a capsule, and returns its length too.
pub(super) fn open(path: &Path) -> Result<(File, u64)> {
    let opened = File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        Ok((file, length))
    });
    opened.map_err(|error| Failure::file("reading", path, &error))
}

/// Takes in the capsule at `path`, under a name if one is given.
pub(super) fn read(db: &Database, path: &Path, name: Option<&str>) -> Result<ObjectId> {
    let (file, length) = open(path)?;
    // The capsule is read twice: to verify it, then to append it.
    let bar = progress::bytes("importing", 2 * length);
    let from = bar.wrap_read(BufReader::new(file));
    let imported = match name {
        Some(name) => db.import_as(from, name),
        None => db.import(from),
    };
    bar.finish_and_clear();
    imported.map_err(|error| Failure::from(error).about(path.display()))
}
