//! Segments: the files of the log, and the header that each starts with. A segment that is full may
//! be replaced by its pack.
//!
//! It does not know frames; it reads and writes at offsets.
//!
//! Invariant: a segment that has its name has a durable header, which names the last frame of the
//! segment before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::codec::{Reader, Write};
use parking_lot::Mutex;

use crate::directory::{DatabaseId, create_file, keep_file, stage_file, sync_directory, temporary};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::Check;
use crate::log::pack::{self, Pack, PackWriter};

/// Bytes of a segment's header.
pub(crate) const HEADER_BYTES: usize = 96;
/// The number of the first segment.
pub(crate) const FIRST: u32 = 1;

const MAGIC: [u8; 8] = *b"CTNT-LOG";
/// What is written: 2 has records of versions with changed runs.
pub(crate) const VERSION: u32 = 2;
const CONTEXT: &str = "continuant 1 log segment";
const SUFFIX: &str = ".log";
/// Segments that are kept open for readers.
const OPEN_MAX: usize = 128;
/// Files that are kept to be used again.
const SPARES_MAX: usize = 2;
/// What the name of such a file starts with; it ends as those do that nobody reads.
const SPARE: &str = "spare-";

/// The segments of one log.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    id: DatabaseId,
    open: Mutex<BTreeMap<u32, Segment>>,
    /// Files of segments that packs replaced, to be used again: the disk writes faster over blocks
    /// that were written before.
    spares: Mutex<Vec<PathBuf>>,
    spares_max: usize,
}

/// A segment's file.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Frames as they were written.
    Plain(Arc<dyn DiskFile>),
    /// What is still wanted of them.
    Packed(Arc<Pack>),
}

/// What a segment starts with, besides what tells that it is this segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// Of the layout of what is in the segment.
    pub(crate) version: u32,
    /// The check of the last frame before the segment.
    pub(crate) previous: Check,
}

/// The name of a segment's file, from the database's directory.
pub(crate) fn file_name(number: u32) -> String {
    format!("log/{}", base_name(number))
}

fn base_name(number: u32) -> String {
    format!("{number:08}{SUFFIX}")
}

/// The number of the segment whose file or pack is called so.
fn number(name: &Path) -> Option<u32> {
    let number = name.to_str()?.split('.').next()?.parse().ok()?;
    let names = [base_name(number), pack::base_name(number)];
    names.iter().any(|known| name.as_os_str() == known.as_str()).then_some(number)
}

/// Whether a file was there to be removed or renamed.
fn was_there(gone: std::io::Result<()>) -> std::io::Result<bool> {
    match gone {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        gone => gone.map(|()| true),
    }
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf, id: DatabaseId) -> Segments {
        let (open, spares) = Default::default();
        Segments { disk, path, id, open, spares, spares_max: 0 }
    }

    /// Keeps a few files of segments that packs replace, to use them again.
    pub(crate) fn recycling(self) -> Segments {
        Segments { spares_max: SPARES_MAX, ..self }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.path.join(base_name(number))
    }

    /// The names in the log's directory.
    fn names(&self) -> Result<Vec<PathBuf>> {
        self.disk.list(&self.path).map_err(|error| Error::io("list", error).at(&self.path))
    }

    /// The numbers of the segments that there are, ascending.
    pub(crate) fn numbers(&self) -> Result<Vec<u32>> {
        let mut numbers: Vec<u32> = self.names()?.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        // A crash may have left a segment beside its pack.
        numbers.dedup();
        Ok(numbers)
    }

    /// Whether there is such a segment.
    pub(crate) fn exists(&self, number: u32) -> Result<bool> {
        let exists = |path: PathBuf| {
            self.disk.exists(&path).map_err(|error| Error::io("read", error).at(path))
        };
        Ok(exists(self.path(number))? || exists(self.pack_path(number))?)
    }

    fn pack_path(&self, number: u32) -> PathBuf {
        self.path.join(pack::base_name(number))
    }

    /// A segment's file or pack.
    pub(crate) fn segment(&self, number: u32) -> Result<Segment> {
        let mut kept = self.open.lock();
        if let Some(segment) = kept.get(&number) {
            return Ok(segment.clone());
        }
        let open = |path: &PathBuf| match self.disk.open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(|error| Error::io("open", error).at(path)),
        };
        let segment = match open(&self.pack_path(number))? {
            Some(file) => Segment::Packed(Arc::new(Pack::open(file, number, self.id)?)),
            None => Segment::Plain(open(&self.path(number))?.ok_or_else(|| {
                Error::damaged(file_name(number), 0, "a segment of the log", "no file")
            })?),
        };
        if kept.len() >= OPEN_MAX {
            // The oldest segments are the least likely to be read or written next.
            kept.pop_first();
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

    /// Replaces a segment, or its pack, by a new pack of what `fill` adds; gives the pack's bytes.
    ///
    /// Whoever reads the old file goes on reading it.
    pub(crate) fn replace(
        &self,
        number: u32,
        fill: impl FnOnce(&mut PackWriter<'_>) -> Result<()>,
    ) -> Result<u64> {
        let (disk, path, mut bytes) = (&*self.disk, self.pack_path(number), 0);
        let previous = self.header(number)?.previous;
        let failed = |error| Error::io("write", error).at(&path);
        let file = stage_file(disk, &path, |file| {
            let mut writer = PackWriter::begin(file, number, self.id, previous).map_err(failed)?;
            fill(&mut writer)?;
            bytes = writer.finish().map_err(failed)?;
            Ok(())
        });
        // What cannot be read back must not replace what can.
        let opened = file.and_then(|file| {
            let opened = Pack::open(file, number, self.id).map_err(|error| error.at(&path));
            opened.inspect_err(|_| drop(disk.remove(&temporary(&path))))
        });
        opened.map_err(|error| match error.kind() {
            // Damage is of what `fill` reads, and names its file.
            ErrorKind::Damaged { .. } => error,
            _ => error.at(&path),
        })?;
        // Nobody opens the segment between the two names.
        let mut kept = self.open.lock();
        keep_file(disk, &path)?;
        let is_read = match kept.remove(&number) {
            Some(Segment::Plain(file)) => Arc::strong_count(&file) > 1,
            _ => false,
        };
        self.remove_replaced(number, is_read)?;
        Ok(bytes)
    }

    /// Removes a segment that has a pack, or keeps its file to be used again, unless someone still
    /// reads it.
    fn remove_replaced(&self, number: u32, is_read: bool) -> Result<()> {
        let (path, spare) = (self.path(number), self.path.join(format!("{SPARE}{number:08}.tmp")));
        let mut spares = self.spares.lock();
        let gone = match spares.len() < self.spares_max && !is_read {
            true => self.disk.rename(&path, &spare).map(|()| spares.push(spare)),
            false => self.disk.remove(&path),
        };
        drop(spares);
        match was_there(gone).map_err(|error| Error::io("remove", error).at(&path))? {
            true => sync_directory(&*self.disk, &self.path),
            false => Ok(()),
        }
    }

    /// Removes what a crash left: segments that have packs, and packs that were not finished. Finds
    /// the files that can be used again.
    pub(crate) fn tidy(&self) -> Result<()> {
        let names = self.names()?;
        let is_spare = |name: &&PathBuf| name.to_str().is_some_and(|name| name.starts_with(SPARE));
        *self.spares.lock() =
            names.iter().filter(is_spare).map(|name| self.path.join(name)).collect();
        let names: BTreeSet<PathBuf> = names.into_iter().collect();
        for number in names.iter().filter_map(|name| number(name)).collect::<BTreeSet<u32>>() {
            let pack = PathBuf::from(pack::base_name(number));
            let begun = temporary(&pack);
            if names.contains(&begun) {
                self.remove(&self.path.join(begun))?;
            }
            if names.contains(&pack) && names.contains(Path::new(&base_name(number))) {
                self.remove_replaced(number, false)?;
            }
        }
        Ok(())
    }

    /// Removes a file, if it is there.
    fn remove(&self, path: &Path) -> Result<()> {
        let removed = was_there(self.disk.remove(path));
        removed.map(drop).map_err(|error| Error::io("remove", error).at(path))
    }

    /// Makes a segment of `bytes` bytes whose header names `previous`, the last frame before it; in
    /// a file that was one before, if there is such a file. What is behind the header is not zero
    /// then.
    pub(crate) fn create(
        &self,
        number: u32,
        bytes: u64,
        previous: Check,
    ) -> Result<Arc<dyn DiskFile>> {
        let (path, header) = (self.path(number), encode(self.id, number, previous));
        let spare = self.spares.lock().pop();
        // What a crash left at the temporary name is nothing to use again.
        let kept_bytes = if spare.is_some() { bytes } else { 0 };
        if let Some(spare) = spare {
            let renamed = self.disk.rename(&spare, &temporary(&path));
            renamed.map_err(|error| Error::io("rename", error).at(&spare))?;
        }
        let file = create_file(&*self.disk, &path, |file| {
            if file.length()? > kept_bytes {
                file.set_length(kept_bytes)?;
            }
            file.allocate(bytes)?;
            file.write_all_at(&header, 0)
        })?;
        self.open.lock().insert(number, Segment::Plain(Arc::clone(&file)));
        Ok(file)
    }

    /// Makes sure that the file system holds `bytes` bytes for a segment.
    pub(crate) fn reserve(&self, number: u32, bytes: u64) -> Result<()> {
        let failed = |error| Error::io("allocate", error).at(self.path(number));
        let file = self.file(number)?;
        if file.length().map_err(failed)? < bytes {
            file.allocate(bytes).map_err(failed)?;
            file.sync().map_err(failed)?;
        }
        Ok(())
    }

    /// Where a segment ends.
    pub(crate) fn bytes_count(&self, number: u32) -> Result<u64> {
        match self.segment(number)? {
            Segment::Plain(file) => self.length(&*file, number),
            Segment::Packed(pack) => Ok(u64::from(pack.end())),
        }
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

    /// Reads up to `bytes.len()` bytes at `offset` of a segment's `file`: fewer at its end. Whoever
    /// reads in several parts does so from one file: the segment may be replaced meanwhile.
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
        let written = self.file(number)?.write_all_at(bytes, offset);
        written.map_err(|error| Error::io("write", error).at(self.path(number)))
    }

    /// Makes what was written durable. Never called again after it failed.
    pub(crate) fn sync(&self, number: u32) -> Result<()> {
        let synced = self.file(number)?.sync();
        synced.map_err(|error| Error::io("sync", error).at(self.path(number)))
    }

    /// Cuts a segment off at `bytes` and makes that durable.
    pub(crate) fn truncate(&self, number: u32, bytes: u64) -> Result<()> {
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

    /// Drops what the kernel has cached of the segments from `number` on.
    pub(crate) fn drop_caches(&self, number: u32) -> Result<()> {
        for found in self.numbers()?.into_iter().filter(|&found| found >= number) {
            if let Segment::Plain(file) = self.segment(found)? {
                file.drop_cache();
            }
        }
        Ok(())
    }

    /// Bytes that the disk holds for a segment.
    pub(crate) fn bytes_held(&self, number: u32) -> Result<u64> {
        let held = |path: PathBuf| self.disk.bytes_held(&path);
        let bytes = match held(self.pack_path(number)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => held(self.path(number)),
            held => held,
        };
        bytes.map_err(|error| Error::io("read", error).at(self.path(number)))
    }

    /// What a segment's header says.
    pub(crate) fn header(&self, number: u32) -> Result<Header> {
        let file = match self.segment(number)? {
            Segment::Plain(file) => file,
            Segment::Packed(pack) => {
                return Ok(Header { version: VERSION, previous: pack.previous() });
            }
        };
        let mut bytes = [0; HEADER_BYTES];
        let read = self.read(&*file, number, 0, &mut bytes)?;
        decode(self.id, number, &bytes[..read])
    }
}

fn encode(id: DatabaseId, number: u32, previous: Check) -> Vec<u8> {
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
    if reader.bytes(MAGIC.len())? != MAGIC {
        return damaged(0, "a segment of a log", &"other bytes");
    }
    let version = reader.u32()?;
    if version > VERSION {
        return Err(ErrorKind::NewerFormat { found: version, supported: VERSION }.into());
    }
    if *check != blake3::derive_key(CONTEXT, head) {
        return damaged(0, "the bytes of its check", &"other bytes in the segment header");
    }
    let found = reader.u32()?;
    if found != number {
        return damaged(12, &format!("segment {number}"), &found);
    }
    if reader.array()? != id {
        return damaged(16, "a segment of this database", &"one of another");
    }
    Ok(Header { version, previous: reader.array()? })
}
