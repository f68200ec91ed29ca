//! The next content of a backup, until all of its files have their names.
//!
//! New segments, and new forms of existing ones, are made under temporary names. They count as soon
//! as the witness that covers them exists under its own temporary name: from then on all readers of
//! the backup take them in place of the files that they replace.
//!
//! ```text
//!   log/ 3.log  3.pack.tmp 4.log.tmp                           it ends in 3.log
//!   log/ 3.log  3.pack.tmp 4.log.tmp   backup.witness.tmp      it ends in 4.log.tmp
//!   log/ 3.pack            4.log.tmp   backup.witness.tmp      names, one after the other
//!   log/ 3.pack            4.log       backup.witness
//! ```
//!
//! This module does not know how segments are copied.
//!
//! Invariant: staged segments are durable before the witness is, and the witness before any of them
//! gets its name.
//! Invariant: no segment is staged while there is a staged witness, which would cover it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::directory::{Directory, keep_file, remove_temporary, sync_directory, temporary};
use crate::error::Result;
use crate::log::segment::{FIRST, Segments, Tail};
use crate::log::{file, pack};
use crate::upkeep::backup::contents::ends_at;
use crate::upkeep::backup::witness::Witness;

/// The file of a segment, or its pack.
#[derive(Clone, Copy)]
pub(super) struct File {
    pub(super) number: u32,
    pub(super) is_pack: bool,
}

impl File {
    /// Returns its path in a backup.
    pub(super) fn path(self, target: &Directory) -> PathBuf {
        let name = if self.is_pack { pack::file_name } else { file::file_name };
        target.path().join(name(self.number))
    }

    /// Gives the staged file its name, in place of the backup's file.
    pub(super) fn keep(self, target: &Directory) -> Result<()> {
        let other = File { is_pack: !self.is_pack, ..self }.path(target);
        // Readers take the pack if both exist.
        if !self.is_pack {
            target.remove(&other)?;
        }
        keep_file(&**target.disk(), &self.path(target))?;
        if self.is_pack { target.remove(&other) } else { Ok(()) }
    }
}

/// Makes the staged segments count, by the witness that covers them, and gives them their names.
pub(super) fn commit(target: &Directory, witness: &Witness) -> Result<()> {
    if let Err(error) = witness.stage(target) {
        // A witness that may still exist needs all that it covers.
        if withdraw(target).is_ok() {
            drop(remove_temporary(&**target.disk(), &target.log()));
        }
        return Err(error);
    }
    sync_directory(&**target.disk(), target.path())?;
    finish(target)
}

/// Completes, or removes, the staged content that a killed backup left.
pub(super) fn settle(target: &Directory) -> Result<()> {
    match staged(target)? {
        Some((_, witness)) => {
            witness.settle(target)?;
            finish(target)?;
        }
        None => withdraw(target)?,
    }
    remove_temporary(&**target.disk(), &target.log())?;
    // No later witness may cover a file that a crash brings back.
    sync_directory(&**target.disk(), &target.log())
}

/// Gives all staged files their names, the witness last.
fn finish(target: &Directory) -> Result<()> {
    for (number, is_pack) in log(target).staged_files()? {
        File { number, is_pack }.keep(target)?;
    }
    keep_file(&**target.disk(), &target.witness())
}

/// Removes the staged witness durably; also one whose removal a crash may undo.
fn withdraw(target: &Directory) -> Result<()> {
    target.remove(&temporary(&target.witness()))?;
    sync_directory(&**target.disk(), target.path())
}

/// Returns the log of a directory for reading, and the witness that covers it if it is a backup.
pub(crate) fn readable(directory: &Directory) -> Result<(Segments, Option<Witness>)> {
    if let Some((segments, witness)) = staged(directory)? {
        return Ok((segments, Some(witness)));
    }
    Ok((log(directory), Witness::of_backup(directory)?))
}

fn log(directory: &Directory) -> Segments {
    Segments::new(Arc::clone(directory.disk()), directory.log(), directory.id()).read_only(true)
}

/// Returns the log of a backup as its staged witness covers it, if there is one that counts.
fn staged(directory: &Directory) -> Result<Option<(Segments, Witness)>> {
    let Some(witness) = Witness::staged_of_backup(directory)? else { return Ok(None) };
    let segments = log(directory).with_staged();
    let is_whole = has_all(&segments, witness.tail);
    let is_whole = is_whole.or_else(|error| match error.is_of_bytes() {
        true => Ok(false),
        false => Err(error),
    })?;
    Ok(is_whole.then_some((segments, witness)))
}

/// Returns whether a log has all of its segments up to an end, and the last frame before it, and
/// its staged files can be opened.
fn has_all(segments: &Segments, tail: Tail) -> Result<bool> {
    let numbers = segments.numbers()?;
    if !(FIRST..=tail.end.segment()).all(|number| numbers.binary_search(&number).is_ok()) {
        return Ok(false);
    }
    // Damage may have cut one beside a whole witness.
    for (number, _) in segments.staged_files()? {
        segments.header(number)?;
    }
    ends_at(segments, tail)
}
