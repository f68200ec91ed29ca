//! `export`: an object as one file, that any host can verify and continue.

use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Database, ObjectId};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::{files, moment, progress, table};

/// Export an object, whole, as one file: a capsule
///
/// The object continues here as well as where the capsule is imported: its own cycles run in both
/// places, and the two differ from then on. With --move it ends here: nothing changes it until a
/// later capsule of it is imported here, or --take-back continues it as it was.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The object
    object: String,

    /// The capsule to write
    #[arg(required_unless_present = "take_back")]
    file: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long)]
    force: bool,

    /// End the object here, on record, because it continues elsewhere
    #[arg(long = "move")]
    moves: bool,

    /// Continue an object here that was moved away; if it continued elsewhere too, there are two of
    /// it
    #[arg(long, conflicts_with_all = ["file", "force", "moves"])]
    take_back: bool,
}

impl Export {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        match self.moves || self.take_back {
            true => target.with(|db| self.work(db, printer)),
            false => target.reading(|db| self.work(db, printer)),
        }
    }

    fn work(&self, db: &Database, printer: &mut Printer) -> Result<()> {
        let id = target::find(db, &self.object)?;
        let Some(path) = &self.file else { return take_back(db, id, printer) };
        let bytes = match self.moves {
            true => move_away(db, id, path, self.force)?,
            false => write(db, id, path, self.force)?,
        };
        let file = path.display().to_string();
        let ended = if self.moves { format!("; object {id} ended here") } else { String::new() };
        let document = json!({ "object": id.to_string(), "file": file, "moved": self.moves });
        printer.done(format!("the capsule {file}{ended}"), document);
        let info = db.info(id)?;
        let wakes_twice = info.wake.filter(|_| !info.moved);
        if printer.is_json() {
            return printer.document(&json!({
                "object": id.to_string(),
                "file": file,
                "bytes": bytes,
                "moved": info.moved,
                "wakes_twice": moment::json(wakes_twice),
            }));
        }
        let mut pairs =
            vec![("object", id.to_string()), ("file", file), ("bytes", table::grouped(bytes))];
        let goes_on = match wakes_twice {
            _ if info.moved => "in another database: it ended here until it comes back".to_string(),
            Some(wake) => {
                format!("here too, and wakes at {wake} in both places: --move ends it here")
            }
            None => "here too: --move ends it here".to_string(),
        };
        pairs.push(("goes on", goes_on));
        printer.pairs(&pairs)
    }
}

fn take_back(db: &Database, id: ObjectId, printer: &mut Printer) -> Result<()> {
    if !db.take_back(id)? {
        let message = format!("object {id} was not moved away: there is nothing to take back");
        return Err(Failure::new("not-moved", message));
    }
    let document = json!({ "object": id.to_string(), "moved": false });
    printer.done(format!("object {id} goes on here"), document.clone());
    match printer.is_json() {
        true => printer.document(&document),
        false => printer.pairs(&[("object", id.to_string()), ("goes on", "here".to_string())]),
    }
}

/// Writes the capsule, and returns its length.
pub(super) fn write(db: &Database, id: ObjectId, path: &Path, force: bool) -> Result<u64> {
    let bar = progress::growing("exporting");
    let written = files::write(path, force, |out| Ok(db.export(id, &mut bar.wrap_write(out))?));
    bar.finish_and_clear();
    written
}

/// Ends the object here and writes the capsule; if the file cannot be kept, takes the object back.
fn move_away(db: &Database, id: ObjectId, path: &Path, force: bool) -> Result<u64> {
    let was_moved = db.info(id)?.moved;
    let bar = progress::growing("exporting");
    let written = files::write(path, force, |out| Ok(db.move_away(id, &mut bar.wrap_write(out))?));
    bar.finish_and_clear();
    if written.is_err() && !was_moved {
        db.take_back(id)?;
    }
    written
}
