//! Segments: the files of the log, and the header that each starts with. A full segment may be
//! replaced by its pack.
//!
//! This module does not know frames; it reads and writes at offsets.
//!
//! Invariant: a segment that has its name has a durable header, which names the last frame of the
//! segment before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::codec::{Reader, Write};

use crate::disk::directory::{
    DatabaseId, create_file, keep_file, remove_temporary, stage_file, sync_directory, temporary,
};
use crate::disk::file::{Disk, DiskFile};
use crate::disk::local::kept_files_max;
use crate::disk::nowhere::Nowhere;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result, is_full};
use crate::lock::{Mutex, rank};
use crate::log::file::{HEADER_BYTES, base_name, file_name};
use crate::log::frame::{Check, Seal};
use crate::log::pack::Pack;
use crate::log::pack::writer::PackWriter;
use crate::log::{frame, pack};

/// The number of the first segment.
pub(crate) const FIRST: u32 = 1;

const MAGIC: [u8; 8] = *b"CTNT-SEG";
/// The first bytes of a segment of format 1.
const OLD_MAGIC: [u8; 8] = *b"CTNT-LOG";
const VERSION: u32 = 2;
const CONTEXT: &str = "continuant 2 log segment";
/// Segments that are kept open for readers, at most.
const OPEN_MAX: usize = 128;
/// The initial size of a segment's file, unless the first frames take more.
const ROOM_MIN: u64 = 1 << 20;

/// The end of a part of the log, and the check that the next frame is chained to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tail {
    /// The place of the next frame, if it fits into the segment.
    pub(crate) end: Position,
    /// The last frame; none at the start of the log.
    pub(crate) last: Position,
    /// The last frame's check.
    pub(crate) check: Check,
}

impl Tail {
    /// The start of a segment behind the frame with the check `previous`.
    pub(crate) fn of_segment(number: u32, previous: Check) -> Tail {
        let end = Position::new(number, HEADER_BYTES as u32);
        Tail { end, last: Position::NONE, check: previous }
    }

    /// The end behind the frame at `place`.
    pub(crate) fn behind(header: &frame::Header, place: Position) -> Tail {
        let bytes_count = frame::HEADER_BYTES as u64 + u64::from(header.length);
        Tail { end: Position(place.0 + bytes_count), last: place, check: header.check }
    }
}

/// The segments of one log.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    id: DatabaseId,
    seal: Seal,
    open: Mutex<BTreeMap<u32, Segment>, rank::Files>,
    read_only: bool,
    /// True if files with temporary names count in place of those without.
    staged: bool,
    /// Segments that are kept open.
    open_max: usize,
}

/// A segment's file.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Frames as they were written.
    Plain(Arc<dyn DiskFile>),
    /// A packed segment: the records of it that are still needed.
    Packed(Arc<Pack>),
}

impl Segment {
    /// Returns whether somebody uses it, beside the cache of open segments.
    fn is_read(&self) -> bool {
        match self {
            Segment::Plain(file) => Arc::strong_count(file) > 1,
            Segment::Packed(pack) => Arc::strong_count(pack) > 1,
        }
    }
}

/// The header of a segment, without its number and its database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// The check of the last frame before the segment.
    pub(crate) previous: Check,
}

/// Returns the number of the segment whose file or pack has this name.
fn number(name: &Path) -> Option<u32> {
    let number = name.to_str()?.split('.').next()?.parse().ok()?;
    let names = [base_name(number), pack::base_name(number)];
    names.iter().any(|known| name.as_os_str() == known.as_str()).then_some(number)
}

/// Returns the number of the segment whose file or pack has this temporary name, and whether it is
/// the pack.
fn staged_number(name: &Path) -> Option<(u32, bool)> {
    let number = name.to_str()?.split('.').next()?.parse().ok()?;
    let is = |known: String| temporary(Path::new(&known)) == name;
    match (is(pack::base_name(number)), is(base_name(number))) {
        (false, false) => None,
        (is_pack, _) => Some((number, is_pack)),
    }
}

/// Returns whether a file was there to be removed or renamed.
fn was_there(gone: std::io::Result<()>) -> std::io::Result<bool> {
    match gone {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        gone => gone.map(|()| true),
    }
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, id: DatabaseId) -> Segments {
        let open_max = kept_files_max(OPEN_MAX);
        let (open, read_only, staged) = Default::default();
        let seal = Seal::new(id);
        Segments { disk, path, id, seal, open, read_only, staged, open_max }
    }

    /// Returns what makes and verifies the frames of the segments.
    pub(crate) fn seal(&self) -> Seal {
        self.seal
    }

    /// Opens files for reading alone, if so.
    pub(crate) fn read_only(self, read_only: bool) -> Segments {
        Segments { read_only, ..self }
    }

    /// Returns the segments with each file of a temporary name in place of the one that it is to
    /// replace. The caller knows that these files are whole.
    pub(crate) fn with_staged(self) -> Segments {
        Segments { staged: true, ..self }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.path.join(base_name(number))
    }

    /// Returns the paths at which a segment may be, and whether as its pack, in order: the first
    /// that exists counts.
    fn files(&self, number: u32) -> impl Iterator<Item = (PathBuf, bool)> {
        let named = [(self.pack_path(number), true), (self.path(number), false)];
        let temporary = |(path, is_pack): (PathBuf, bool)| (temporary(&path), is_pack);
        let staged = self.staged.then(|| named.clone().map(temporary));
        staged.into_iter().flatten().chain(named)
    }

    /// The names in the log's directory.
    fn names(&self) -> Result<Vec<PathBuf>> {
        self.with_room(|| {
            self.disk.list(&self.path).map_err(|error| Error::io("list", error).at(&self.path))
        })
    }

    /// Returns the numbers of the existing segments, ascending.
    pub(crate) fn numbers(&self) -> Result<Vec<u32>> {
        let names = self.names()?;
        let staged = names.iter().filter(|_| self.staged).filter_map(|name| staged_number(name));
        let named = names.iter().filter_map(|name| number(name));
        let mut numbers: Vec<u32> = named.chain(staged.map(|(number, _)| number)).collect();
        numbers.sort_unstable();
        // A crash may have left a segment beside its pack.
        numbers.dedup();
        Ok(numbers)
    }

    /// Returns whether the segment exists.
    pub(crate) fn exists(&self, number: u32) -> Result<bool> {
        for (path, _) in self.files(number) {
            if self.disk.exists(&path).map_err(|error| Error::io("read", error).at(path))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the segments that have files with temporary names, ascending, and whether these are
    /// packs.
    pub(crate) fn staged_files(&self) -> Result<Vec<(u32, bool)>> {
        let mut files: Vec<_> = self.names()?.iter().filter_map(|it| staged_number(it)).collect();
        files.sort_unstable();
        Ok(files)
    }

    fn pack_path(&self, number: u32) -> PathBuf {
        self.path.join(pack::base_name(number))
    }

    /// A segment's file or pack.
    pub(crate) fn segment(&self, number: u32) -> Result<Segment> {
        self.with_room(|| self.opened(number))
    }

    /// Does work that opens files; when too many are open, closes unused segments and does it
    /// again.
    fn with_room<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(error) if error.is_of_open_files() && self.let_go() => work(),
            done => done,
        }
    }

    /// Closes the segments that are kept open, but for the newest, which is written; whether there
    /// were any.
    fn let_go(&self) -> bool {
        let mut kept = self.open.lock();
        let newest = kept.last_key_value().map(|(&number, _)| number);
        let before = kept.len();
        kept.retain(|&number, segment| Some(number) == newest || segment.is_read());
        kept.len() < before
    }

    fn opened(&self, number: u32) -> Result<Segment> {
        let mut kept = self.open.lock();
        if let Some(segment) = kept.get(&number) {
            return Ok(segment.clone());
        }
        let opened = |path: &PathBuf| match self.read_only {
            true => self.disk.open_to_read(path),
            false => self.disk.open(path),
        };
        let open = |path: &PathBuf| match opened(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| Error::io("open", error).at(path)),
        };
        let mut found = None;
        for (path, is_pack) in self.files(number) {
            found = open(&path)?.map(|file| (file, is_pack));
            if found.is_some() {
                break;
            }
        }
        let segment = match found {
            Some((file, true)) => {
                let pack = Pack::open(file, number, self.id);
                Segment::Packed(Arc::new(
                    pack.map_err(|error| placed(error, &self.pack_path(number)))?,
                ))
            }
            Some((file, false)) => Segment::Plain(file),
            None => {
                let file = file_name(number);
                return Err(Error::damaged(file, 0, "a segment of the log", "no file"));
            }
        };
        if kept.len() >= self.open_max {
            // The oldest segments are the least likely to be read or written next. One that is read
            // would stay open, and its file could be used again unseen.
            let oldest = kept.iter().find(|(_, segment)| !segment.is_read());
            if let Some(&oldest) = oldest.map(|(number, _)| number) {
                kept.remove(&oldest);
            }
        }
        kept.insert(number, segment.clone());
        Ok(segment)
    }

    /// The file of a segment that is not packed.
    pub(crate) fn file(&self, number: u32) -> Result<Arc<dyn DiskFile>> {
        match self.segment(number)? {
            Segment::Plain(file) => Ok(file),
            Segment::Packed(_) => {
                Err(Error::damaged(file_name(number), 0, "a segment of the log", "its pack"))
            }
        }
    }

    /// Makes a new pack of a segment, or of its pack, from the frames that `fill` adds. Nothing is
    /// replaced: after a failure, all is unchanged.
    pub(crate) fn stage_pack(
        &self,
        number: u32,
        fill: impl FnOnce(&mut PackWriter<'_>) -> Result<()>,
    ) -> Result<()> {
        let (disk, path) = (&*self.disk, self.pack_path(number));
        let previous = self.header(number)?.previous;
        let failed = |error| Error::io("write", error).at(&path);
        let file = stage_file(disk, &path, |file| {
            let mut writer = PackWriter::begin(file, number, self.id, previous).map_err(failed)?;
            fill(&mut writer)?;
            writer.finish().map(drop).map_err(failed)
        });
        // An unreadable pack must not replace a readable segment.
        let opened = file.and_then(|file| {
            let opened = Pack::open(file, number, self.id).map_err(|error| error.at(&path));
            opened.inspect_err(|_| drop(disk.remove(&temporary(&path))))
        });
        opened.map_err(|error| match error.kind() {
            // Damage is in the source that `fill` reads, and the error names its file.
            ErrorKind::Damaged { .. } => error,
            _ => error.at(&path),
        })?;
        Ok(())
    }

    /// Returns the size of the pack that `fill` would make of a segment; nothing is written.
    pub(crate) fn measure_pack(
        &self,
        number: u32,
        fill: impl FnOnce(&mut PackWriter<'_>) -> Result<()>,
    ) -> Result<u64> {
        let failed = |error| Error::io("write", error).at(self.pack_path(number));
        let (nowhere, previous) = (Nowhere::default(), self.header(number)?.previous);
        let mut writer = PackWriter::begin(&nowhere, number, self.id, previous).map_err(failed)?;
        fill(&mut writer)?;
        writer.finish().map_err(failed)
    }

    /// Does work while room for a file of `bytes` bytes in the log's directory is kept, if the disk
    /// has that and `beside` bytes more for the work; else does nothing, and returns nothing. A
    /// disk that does not reserve room counts as one that has it.
    pub(crate) fn keeping_room<T>(
        &self,
        bytes: u64,
        beside: u64,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        let path = temporary(&self.path.join("room"));
        let failed = |error| Error::io("allocate", error).at(&path);
        let kept = self.disk.create(&path);
        let kept = kept.and_then(|file| file.allocate(bytes + beside).map(|()| file));
        let done = match kept {
            Err(error) if is_full(&error) => Ok(None),
            kept => {
                let is_kept = kept.and_then(|file| file.set_length(bytes)).map_err(failed);
                is_kept.and_then(|()| work()).map(Some)
            }
        };
        was_there(self.disk.remove(&path)).map_err(failed)?;
        done
    }

    /// Replaces a segment, or its pack, by the staged pack.
    ///
    /// Readers of the old file continue to read it.
    pub(crate) fn keep_pack(&self, number: u32) -> Result<()> {
        // Nobody opens the segment between the two names.
        let mut kept = self.open.lock();
        keep_file(&*self.disk, &self.pack_path(number))?;
        kept.remove(&number);
        self.remove_replaced(number)
    }

    /// Removes a segment that has a pack: nothing that the pack lacks stays on the disk.
    fn remove_replaced(&self, number: u32) -> Result<()> {
        let path = self.path(number);
        let gone = was_there(self.disk.remove(&path));
        match gone.map_err(|error| Error::io("remove", error).at(&path))? {
            true => sync_directory(&*self.disk, &self.path),
            false => Ok(()),
        }
    }

    /// Removes the leftovers of a crash: segments that have packs, and unfinished files.
    pub(crate) fn tidy(&self) -> Result<()> {
        remove_temporary(&*self.disk, &self.path)?;
        let names: BTreeSet<PathBuf> = self.names()?.into_iter().collect();
        for number in names.iter().filter_map(|name| number(name)).collect::<BTreeSet<u32>>() {
            let is_there = |name: String| names.contains(Path::new(&name));
            if is_there(pack::base_name(number)) && is_there(base_name(number)) {
                self.remove_replaced(number)?;
            }
        }
        Ok(())
    }

    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> Result<()> {
        let removed = was_there(self.disk.remove(path));
        removed.map(drop).map_err(|error| Error::io("remove", error).at(path))
    }

    /// Makes a segment whose header names `previous`, the last frame before it, with room for
    /// `needed` bytes, and for more up to `capacity`.
    pub(crate) fn create_with_room(
        &self,
        number: u32,
        needed: u64,
        capacity: u64,
        previous: Check,
    ) -> Result<Arc<dyn DiskFile>> {
        assert!(needed <= capacity, "what is to be written has room in the segment");
        let (path, header) = (self.path(number), encode(self.id, number, previous));
        let file = self.with_room(|| {
            create_file(&*self.disk, &path, |file| {
                // A file that a crash left at the temporary name is not used again.
                file.set_length(0)?;
                grow(file, 0, needed, capacity)?;
                file.write_all_at(&header, 0)
            })
        })?;
        self.open.lock().insert(number, Segment::Plain(Arc::clone(&file)));
        Ok(file)
    }

    /// Returns whether nothing was written at a place, or the file ends before it.
    pub(crate) fn is_empty_at(&self, place: Position) -> Result<bool> {
        let Segment::Plain(file) = self.segment(place.segment())? else { return Ok(false) };
        let mut bytes = [0; frame::HEADER_BYTES];
        let read = self.read(&*file, place.segment(), u64::from(place.offset()), &mut bytes)?;
        Ok(bytes[..read].iter().all(|&byte| byte == 0))
    }

    /// Makes sure that the file system holds `needed` bytes for a segment, and more up to
    /// `capacity` where it has room.
    pub(crate) fn reserve(&self, number: u32, needed: u64, capacity: u64) -> Result<()> {
        assert!(needed <= capacity, "what is to be written has room in the segment");
        let failed = |error| Error::io("allocate", error).at(self.path(number));
        let file = self.file(number)?;
        let length = file.length().map_err(failed)?;
        if length < needed {
            grow(&*file, length, needed, capacity).map_err(failed)?;
            file.sync().map_err(failed)?;
        }
        Ok(())
    }

    /// Returns the end of a segment.
    pub(crate) fn bytes_count(&self, number: u32) -> Result<u64> {
        match self.segment(number)? {
            Segment::Plain(file) => self.length(&*file, number),
            Segment::Packed(pack) => Ok(u64::from(pack.end())),
        }
    }

    /// Bytes of the log's segments before `end`; none for one whose pack cannot be read.
    pub(crate) fn bytes_before(&self, end: Position) -> Result<u64> {
        let mut bytes = u64::from(end.offset());
        for number in self.numbers()?.into_iter().filter(|&number| number < end.segment()) {
            bytes += match self.bytes_count(number) {
                Err(error) if error.is_of_file_system() || error.is_of_resources() => {
                    return Err(error);
                }
                counted => counted.unwrap_or_default(),
            };
        }
        Ok(bytes)
    }

    /// Bytes of a segment's `file`.
    pub(crate) fn length(&self, file: &dyn DiskFile, number: u32) -> Result<u64> {
        let bytes = file.length();
        let bytes = bytes.map_err(|error| Error::io("read", error).at(self.path(number)))?;
        if bytes > u64::from(u32::MAX) {
            return Err(Error::damaged(file_name(number), 0, "at most 2^32 - 1 bytes", bytes));
        }
        Ok(bytes)
    }

    /// Reads up to `bytes.len()` bytes at `offset` of a segment's `file`: fewer at its end. A
    /// reader of several parts must use one file for all: the segment may be replaced meanwhile.
    pub(crate) fn read(
        &self,
        file: &dyn DiskFile,
        number: u32,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<usize> {
        let read = file.read_up_to(bytes, offset);
        read.map_err(|error| Error::io("read", error).at(self.path(number)))
    }

    /// Writes `bytes` at `offset`.
    pub(crate) fn write(&self, number: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        assert!(offset >= HEADER_BYTES as u64, "frames are behind the segment's header");
        let written = self.file(number)?.write_all_at(bytes, offset);
        written.map_err(|error| Error::io("write", error).at(self.path(number)))
    }

    /// Makes all writes durable. Never called again after it failed.
    pub(crate) fn sync(&self, number: u32) -> Result<()> {
        let synced = self.file(number)?.sync();
        synced.map_err(|error| Error::io("sync", error).at(self.path(number)))
    }

    /// Cuts a segment off at `bytes` and makes that durable.
    pub(crate) fn truncate(&self, number: u32, bytes: u64) -> Result<()> {
        assert!(bytes >= HEADER_BYTES as u64, "a segment keeps its header");
        if self.bytes_count(number)? == bytes {
            return Ok(());
        }
        let file = self.file(number)?;
        let cut = file.set_length(bytes).and_then(|()| file.sync());
        cut.map_err(|error| Error::io("truncate", error).at(self.path(number)))
    }

    /// Removes the segments from `number` on.
    pub(crate) fn remove_from(&self, number: u32) -> Result<()> {
        self.open.lock().retain(|&open, _| open < number);
        for removed in self.numbers()?.into_iter().filter(|&found| found >= number).rev() {
            self.remove(&self.path(removed))?;
            self.remove(&self.pack_path(removed))?;
        }
        sync_directory(&*self.disk, &self.path)
    }

    /// Drops the kernel's cache of the segments from `number` on.
    pub(crate) fn drop_caches(&self, number: u32) -> Result<()> {
        for found in self.numbers()?.into_iter().filter(|&found| found >= number) {
            if let Segment::Plain(file) = self.segment(found)? {
                file.drop_cache();
            }
        }
        Ok(())
    }

    /// The id of the database that a whole segment, or a whole pack, says that it is of.
    pub(crate) fn id_in(&self, number: u32) -> Result<Option<DatabaseId>> {
        for (path, is_pack) in self.files(number) {
            let file = match self.disk.open_to_read(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened.map_err(|error| Error::io("open", error).at(&path))?,
            };
            let mut bytes = [0; HEADER_BYTES];
            let read = self.read(&*file, number, 0, &mut bytes)?;
            let id: DatabaseId = bytes[16..32].try_into().expect("sixteen bytes");
            let whole = match is_pack {
                true => Pack::open(file, number, id).map(drop),
                false => decode(id, number, &bytes[..read]).map(drop),
            };
            return match whole {
                Err(error) if error.is_of_format() => Err(error.at(path)),
                whole => Ok(whole.is_ok().then_some(id)),
            };
        }
        Ok(None)
    }

    /// Reads a segment's header.
    pub(crate) fn header(&self, number: u32) -> Result<Header> {
        let file = match self.segment(number)? {
            Segment::Plain(file) => file,
            Segment::Packed(pack) => {
                return Ok(Header { previous: pack.previous() });
            }
        };
        let mut bytes = [0; HEADER_BYTES];
        let read = self.read(&*file, number, 0, &mut bytes)?;
        decode(self.id, number, &bytes[..read]).map_err(|error| placed(error, &self.path(number)))
    }
}

/// Has the disk hold `needed` bytes for a file of `length`: as many as the next step of its growth
/// has, or no more than needed where there is no room for that.
fn grow(file: &dyn DiskFile, length: u64, needed: u64, capacity: u64) -> std::io::Result<()> {
    let step = room(needed, capacity);
    match file.allocate(step) {
        Err(error) if is_full(&error) && step > needed => {
            // A part of it may have been allocated.
            file.set_length(length)?;
            file.allocate(needed)
        }
        allocated => allocated,
    }
}

/// Bytes of a segment's file that has `needed` bytes: twice as many at each step, so that it grows
/// a few times only, and a small database takes little room.
fn room(needed: u64, capacity: u64) -> u64 {
    let step = needed.checked_next_power_of_two().unwrap_or(needed).max(ROOM_MIN);
    step.min(capacity).max(needed)
}

/// Adds a segment's file to the errors of its header that do not name it.
fn placed(error: Error, path: &Path) -> Error {
    if error.is_of_format() { error.at(path) } else { error }
}

/// Returns the bytes of the header of a segment behind the frame with the check `previous`.
pub(crate) fn encode(id: DatabaseId, number: u32, previous: Check) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.put(&MAGIC).put_u32(VERSION).put_u32(number).put(&id).put(&previous);
    let check = blake3::derive_key(CONTEXT, &bytes);
    bytes.put(&check);
    assert_eq!(bytes.len(), HEADER_BYTES, "a segment header has its length");
    bytes
}

fn decode(id: DatabaseId, number: u32, bytes: &[u8]) -> Result<Header> {
    let damaged = |offset, expected: &str, found: &dyn std::fmt::Display| {
        Err(Error::damaged(file_name(number), offset, expected, found))
    };
    if bytes.len() < HEADER_BYTES {
        return damaged(0, "a segment header of 96 bytes", &bytes.len());
    }
    let (head, check) = bytes.split_at(HEADER_BYTES - blake3::OUT_LEN);
    let mut reader = Reader::new("segment header", head);
    let version = match reader.array()? {
        MAGIC => reader.u32()?,
        OLD_MAGIC => 1,
        _ => return damaged(0, "a segment of a log", &"other bytes"),
    };
    Error::validate_format(file_name(number), 8, (version, VERSION))?;
    if *check != blake3::derive_key(CONTEXT, head) {
        return damaged(0, "the bytes of its check", &"other bytes in the segment header");
    }
    let found = reader.u32()?;
    if found != number {
        return damaged(12, &format!("segment {number}"), &found);
    }
    if reader.array()? != id {
        return Err(ErrorKind::OtherDatabase { file: file_name(number) }.into());
    }
    Ok(Header { previous: reader.array()? })
}
