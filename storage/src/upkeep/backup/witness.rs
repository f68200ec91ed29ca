//! The witness of a backup: a file with the backup's end and content when it was made, and how much
//! of it was verified since.
//!
//! ```text
//!   log of the backup:  |--------------------------|
//!   witness:             verified .. | next         end, last frame and its check, counts
//! ```
//!
//! It is written when all that it states is durable, and before a new backup gets its marker: at
//! the beginning it states that nothing is there, so that the directory is known as a backup. This
//! module does not know what is done about a shorter log.
//!
//! Invariant: a backup has at least what its witness states, unless something was lost.

use std::path::Path;
use std::sync::Arc;

use object::codec::{Reader, Write};
use object::time::Time;

use crate::disk::directory::{DatabaseId, Directory, keep_file, stage_file, temporary};
use crate::disk::file::Disk;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::Seal;
use crate::log::scan;
use crate::log::segment::{FIRST, Tail};

use super::contents::Contents;

const MAGIC: [u8; 12] = *b"CONTINUANTBK";
const FORMAT: u32 = 2;
const BYTES: usize = 176;
const CONTEXT: &str = "continuant 2 backup witness";
const REMEDY: &str = "back up into it again; or remove the file: then nothing confirms its end";

/// The end of a backup, and how much of it was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The time of its making, if that is recorded.
    pub(crate) time: Option<Time>,
    /// The end that it covers.
    pub(crate) tail: Tail,
    /// The content before the end.
    pub(crate) contents: Contents,
    /// The segment that is verified next.
    pub(crate) next: u32,
    /// The start of the pass of verifications that `next` belongs to, if it is known.
    pub(crate) begun: Option<Time>,
    /// The time at which, or later, all was verified, if it is known.
    pub(crate) verified: Option<Time>,
}

impl Witness {
    /// Returns the witness of a backup that was just begun.
    pub(crate) fn of_nothing(seal: Seal) -> Witness {
        let (tail, contents) = (scan::start(seal), Contents::default());
        Witness { time: None, tail, contents, next: FIRST, begun: None, verified: None }
    }

    /// Reads the witness of a directory, if it has one.
    pub(crate) fn read(directory: &Directory) -> Result<Option<Witness>> {
        let read = read(&**directory.disk(), &directory.witness(), Some(directory.id()));
        read.map_err(|error| error.at(directory.path()))
    }

    /// Reads the witness of a directory as [`read`](Witness::read) does; the error of a damaged
    /// witness has the remedy.
    pub(crate) fn of_backup(directory: &Directory) -> Result<Option<Witness>> {
        Witness::read(directory).map_err(|error| match error.kind() {
            ErrorKind::Damaged { .. } => error.because(std::io::Error::other(REMEDY)),
            _ => error,
        })
    }

    /// Reads the witness that a backup has under its temporary name, if the witness is whole.
    pub(crate) fn staged_of_backup(directory: &Directory) -> Result<Option<Witness>> {
        let staged = staged(&**directory.disk(), &directory.witness(), Some(directory.id()));
        staged.map_err(|error| error.at(directory.path()))
    }

    /// Writes the witness in place of the former one.
    pub(crate) fn write(&self, directory: &Directory) -> Result<()> {
        self.stage(directory)?;
        keep_file(&**directory.disk(), &directory.witness())
    }

    /// Writes the witness under its temporary name.
    pub(crate) fn stage(&self, directory: &Directory) -> Result<()> {
        let (bytes, path) = (self.encode(directory.id()), directory.witness());
        let staged = stage_file(&**directory.disk(), &path, |file| {
            let written = file.write_all_at(&bytes, 0);
            written.map_err(|error| Error::io("write", error).at(&path))
        });
        staged.map(drop)
    }

    /// Makes the staged witness durable: it may not be, after a sync that failed or was never done.
    pub(crate) fn settle(&self, directory: &Directory) -> Result<()> {
        let (bytes, path) = (self.encode(directory.id()), temporary(&directory.witness()));
        let file = directory.disk().open(&path);
        let settled = file.and_then(|file| file.write_all_at(&bytes, 0).and_then(|()| file.sync()));
        settled.map_err(|error| Error::io("sync", error).at(&path))
    }

    fn encode(&self, id: DatabaseId) -> Vec<u8> {
        let Witness { time, tail, contents, next, begun, verified } = self;
        let times = [time, begun, verified];
        let flags = (0..3).map(|bit| u32::from(times[bit].is_some()) << bit).sum();
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.put(&MAGIC).put_u32(FORMAT).put(&id).put_time(time.unwrap_or_default());
        bytes.put_u64(tail.end.0).put_u64(tail.last.0).put(&tail.check);
        bytes.put_u64(contents.frame_count).put_u64(contents.object_count);
        bytes.put_u64(contents.version_count).put_u64(contents.refusal_count);
        bytes.put_u32(*next).put_u32(flags);
        bytes.put_time(begun.unwrap_or_default()).put_time(verified.unwrap_or_default());
        let check = blake3::derive_key(CONTEXT, &bytes);
        bytes.put(&check);
        assert_eq!(bytes.len(), BYTES, "a witness has its length");
        bytes
    }
}

/// Returns whether the directory of the database with this id, if that is known, is a backup: it
/// has a witness, staged or not.
pub(crate) fn is_backup(disk: &Arc<dyn Disk>, path: &Path, id: Option<DatabaseId>) -> Result<bool> {
    let witness = path.join(Directory::WITNESS);
    let found = match staged(&**disk, &witness, id) {
        Ok(None) => read(&**disk, &witness, id),
        staged => staged,
    };
    match found {
        Ok(witness) => Ok(witness.is_some()),
        Err(error) => match error.kind() {
            ErrorKind::Damaged { .. } | ErrorKind::NewerFormat { .. } => Ok(true),
            _ => Err(error.at(path)),
        },
    }
}

/// Reads the witness that is to replace the one in the file `path`, if it is whole. One of nothing
/// is not taken: a first backup that was cut short may have left it in a directory that something
/// else was restored into since.
fn staged(disk: &dyn Disk, path: &Path, id: Option<DatabaseId>) -> Result<Option<Witness>> {
    match read(disk, &temporary(path), id) {
        Ok(found) => Ok(found.filter(|witness| witness.tail.last != Position::NONE)),
        Err(error) if error.is_of_bytes() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the witness in a file, which is of the database with this id, if that is known.
fn read(disk: &dyn Disk, path: &Path, id: Option<DatabaseId>) -> Result<Option<Witness>> {
    let failed = |error| Error::io("read", error).at(path);
    let file = match disk.open_to_read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = [0; BYTES + 1];
    let found = file.read_up_to(&mut bytes, 0).map_err(failed)?;
    let witness = decode(&bytes[..found], id).map_err(|error| match error.kind() {
        ErrorKind::Object(cause) => Error::damaged(Directory::WITNESS, 0, "a witness", cause),
        _ => error,
    });
    witness.map(Some)
}

fn decode(bytes: &[u8], id: Option<DatabaseId>) -> Result<Witness> {
    let name = Directory::WITNESS;
    let damaged = |offset, expected: &str, found: &dyn std::fmt::Display| {
        Err(Error::damaged(name, offset, expected, found))
    };
    if bytes.len() != BYTES {
        return damaged(0, "176 bytes", &bytes.len());
    }
    let (head, check) = bytes.split_at(BYTES - blake3::OUT_LEN);
    let mut reader = Reader::new("backup witness", head);
    if reader.bytes(MAGIC.len())? != MAGIC {
        return damaged(0, "the witness of a backup", &"other bytes");
    }
    let format = reader.u32()?;
    Error::validate_format(name, 12, (format, FORMAT))?;
    if *check != blake3::derive_key(CONTEXT, head) {
        return damaged(0, "the bytes of its check", &"other bytes");
    }
    let found = reader.array()?;
    if id.is_some_and(|id| id != found) {
        return Err(ErrorKind::OtherDatabase { file: name.to_string() }.into());
    }
    let time = reader.time()?;
    let (end, last) = (Position(reader.u64()?), Position(reader.u64()?));
    let tail = Tail { end, last, check: reader.array()? };
    let contents = Contents {
        frame_count: reader.u64()?,
        object_count: reader.u64()?,
        version_count: reader.u64()?,
        refusal_count: reader.u64()?,
    };
    let Contents { frame_count, object_count, version_count, refusal_count } = contents;
    // Each takes more than a byte.
    if [frame_count, object_count, version_count, refusal_count].iter().any(|&it| it > end.0) {
        return damaged(96, "counts of what fits before the end", &"more");
    }
    let (next, flags) = (reader.u32()?, reader.u32()?);
    let times = [time, reader.time()?, reader.time()?];
    let is_absent = |bit: usize| flags >> bit & 1 == 0;
    if flags > 7 || (0..3).any(|bit| is_absent(bit) && times[bit] > Time::MIN) {
        return damaged(124, "flags of the times that there are", &flags);
    }
    let time = |bit: usize| Some(times[bit]).filter(|_| !is_absent(bit));
    let (time, begun, verified) = (time(0), time(1), time(2));
    Ok(Witness { time, tail, contents, next, begun, verified })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_read_back_and_every_changed_byte_is_found() {
        let tail = Tail { end: Position::new(3, 96), last: Position::new(2, 512), check: [7; 32] };
        let contents =
            Contents { frame_count: 1, object_count: 2, version_count: 3, refusal_count: 4 };
        let at = |milliseconds| Some(Time::from_millis(milliseconds));
        let (time, begun, verified) = (at(5), at(7), at(8));
        let witness = Witness { time, tail, contents, next: 6, begun, verified };
        for (time, begun, verified) in [(None, at(0), at(8)), (at(5), None, None)] {
            let other = Witness { time, begun, verified, ..witness };
            assert_eq!(decode(&other.encode([9; 16]), None).expect("it is whole"), other);
        }
        let bytes = witness.encode([9; 16]);
        assert_eq!(decode(&bytes, Some([9; 16])).expect("it is whole"), witness);
        let other = decode(&bytes, Some([8; 16])).expect_err("it is of another database");
        assert!(matches!(other.kind(), ErrorKind::OtherDatabase { .. }));
        let frame_count = u64::MAX;
        let forged = Witness { contents: Contents { frame_count, ..contents }, ..witness };
        assert!(decode(&forged.encode([9; 16]), None).is_err(), "no log has so many frames");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(decode(&changed, Some([9; 16])).is_err(), "byte {at} is another");
            assert!(decode(&bytes[..at], Some([9; 16])).is_err(), "cut at {at}");
        }
    }
}
