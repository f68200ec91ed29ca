//! Packs: full segments, rewritten compressed and without unneeded records.
//!
//! Frames keep their positions, headers and order; their bodies may be shorter than before. So a
//! frame's own check only links it to the next, and the blocks of frames have checks of their own.
//! The layout is described in `FORMAT.md`. This module does not know the content of bodies, nor
//! which records are needed.
//!
//! Invariant: a pack that has its name is durable and whole; reads from it are verified.

mod passage;
pub(crate) mod writer;

use std::sync::Arc;

use object::codec::{Reader, Write};

use crate::disk::directory::DatabaseId;
use crate::disk::file::DiskFile;
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{Mutex, rank};
use crate::log::frame;
use crate::log::frame::{BODY_BYTES_MAX, Check, Frame, Header, Seal};

const MAGIC: [u8; 8] = *b"CTNT-PAK";
const VERSION: u32 = 2;
const KEY_CONTEXT: &str = "continuant 2 log pack";
/// Bytes of a pack's header.
const HEADER_BYTES: usize = 96;
/// Bytes of a pack's end.
const FOOTER_BYTES: usize = 48;
/// Bytes of a block in the directory.
const BLOCK_BYTES: usize = 32;
/// Bytes of a frame in a block, before its body.
const ENTRY_BYTES: usize = 8 + frame::HEADER_BYTES;
/// Bytes of frames from which on a block is full.
const FULL_BYTES: usize = 64 << 10;
/// Bytes of the largest block that is kept for the next read.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The name of a pack's file, from the database's directory.
pub(crate) fn file_name(number: u32) -> String {
    format!("log/{}", base_name(number))
}

/// Returns its name in the log's directory.
pub(crate) fn base_name(number: u32) -> String {
    format!("{number:08}.pack")
}

/// The place of a block, and its bytes.
type ReadBlock = (usize, Arc<[u8]>);

/// An open pack.
#[derive(Debug)]
pub(crate) struct Pack {
    file: Arc<dyn DiskFile>,
    number: u32,
    key: Key,
    seal: Seal,
    previous: Check,
    /// The end of the segment.
    end: u32,
    /// The check of the directory, and so of all blocks.
    check: Check,
    blocks: Vec<Block>,
    /// The block that was read last: the next read is likely in it too.
    last: Mutex<Option<ReadBlock>, rank::Block>,
}

/// Frames that are compressed together.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// The offset of its first frame in the segment.
    first: u32,
    /// The block's place in the pack.
    at: u64,
    stored_bytes: u32,
    bytes: u32,
    check: [u8; 12],
}

/// A frame in a block.
struct Entry<'a> {
    offset: u32,
    header: &'a [u8; frame::HEADER_BYTES],
    body: &'a [u8],
}

/// The key of the checks of one database's packs.
#[derive(Clone, Copy, Debug)]
struct Key([u8; 32]);

impl Key {
    fn new(id: DatabaseId) -> Key {
        Key(blake3::derive_key(KEY_CONTEXT, &id))
    }

    /// The check of a block that is stored as `bytes`.
    fn block(&self, number: u32, first: u32, bytes: &[u8]) -> [u8; 12] {
        block_check(self.block_hasher(number, first).update(bytes))
    }

    /// Returns a hasher that computes a block's check from its bytes.
    fn block_hasher(&self, number: u32, first: u32) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&number.to_le_bytes()).update(&first.to_le_bytes());
        hasher
    }

    /// The check of a header, or of a directory with the footer's other fields.
    fn all(&self, number: u32, bytes: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&number.to_le_bytes());
        for bytes in bytes {
            hasher.update(bytes);
        }
        *hasher.finalize().as_bytes()
    }
}

fn block_check(hasher: &blake3::Hasher) -> [u8; 12] {
    *hasher.finalize().as_bytes().first_chunk().expect("a hash is longer than a check")
}

impl Pack {
    /// Reads a pack's header and directory.
    pub(crate) fn open(file: Arc<dyn DiskFile>, number: u32, id: DatabaseId) -> Result<Pack> {
        let (key, seal) = (Key::new(id), Seal::new(id));
        let io = |error| Error::io("read", error);
        let damaged = |offset: u64, expected: &str| {
            Error::damaged(file_name(number), offset, expected, "other bytes")
        };
        let mut bytes = [0; HEADER_BYTES];
        let found = file.read_up_to(&mut bytes, 0).map_err(io)?;
        let (head, check) = bytes.split_at(HEADER_BYTES - blake3::OUT_LEN);
        let mut reader = Reader::new("pack header", head);
        if found < HEADER_BYTES || reader.bytes(MAGIC.len())? != MAGIC {
            return Err(damaged(0, "a pack of a log"));
        }
        let version = reader.u32()?;
        Error::validate_format(file_name(number), 8, (version, VERSION))?;
        if *check != key.all(number, &[head]) {
            let other: DatabaseId = head[16..32].try_into().expect("sixteen bytes");
            if *check == Key::new(other).all(number, &[head]) {
                return Err(ErrorKind::OtherDatabase { file: file_name(number) }.into());
            }
            return Err(damaged(0, "the header of this segment's pack"));
        }
        reader.bytes(4 + size_of::<DatabaseId>())?;
        let previous = reader.array()?;
        let length = file.length().map_err(io)?;
        let footer_at = length.checked_sub(FOOTER_BYTES as u64);
        let footer_at = footer_at.ok_or_else(|| damaged(length, "the end of a pack"))?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_up_to(&mut footer, footer_at).map_err(io)?;
        let (fields, check) = footer.split_at(FOOTER_BYTES - blake3::OUT_LEN);
        let mut reader = Reader::new("pack footer", fields);
        let (at, count, end) = (reader.u64()?, reader.u32()?, reader.u32()?);
        // The directory lies between the blocks and the footer, so it is not longer than the file.
        if at.checked_add(u64::from(count) * BLOCK_BYTES as u64) != Some(footer_at) {
            return Err(damaged(footer_at, "the place of the pack's directory"));
        }
        let mut directory = vec![0; count as usize * BLOCK_BYTES];
        let found = file.read_up_to(&mut directory, at).map_err(io)?;
        if found < directory.len() || *check != key.all(number, &[fields, &directory]) {
            return Err(damaged(at, "the directory of the pack"));
        }
        let blocks = directory.chunks_exact(BLOCK_BYTES).map(decode_block);
        let blocks = blocks.collect::<Result<Vec<Block>>>()?;
        // Room is made for a block of the length that is named here, before it is read.
        let is_whole = |block: &Block| {
            let end = block.at.checked_add(u64::from(block.stored_bytes));
            block.stored_bytes <= block.bytes && end.is_some_and(|end| end <= at)
        };
        if !blocks.iter().all(is_whole) {
            return Err(damaged(at, "blocks that lie before the pack's directory"));
        }
        let check = check.try_into().expect("the footer was split before its check");
        let last = Mutex::default();
        Ok(Pack { file, number, key, seal, previous, end, check, blocks, last })
    }

    /// The check of the last frame before the segment.
    pub(crate) fn previous(&self) -> Check {
        self.previous
    }

    /// Returns the end of the segment.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// The frame at `offset` with its header; none at the segment's end.
    pub(crate) fn frame(&self, offset: u32) -> Result<Option<(Header, Frame)>> {
        if offset == self.end {
            return Ok(None);
        }
        let missing = || self.damaged(offset, "a frame there", "none");
        let index = self.blocks.partition_point(|block| block.first <= offset);
        let index = index.checked_sub(1).ok_or_else(missing)?;
        let bytes = self.block(index)?;
        let found = entries(&bytes)
            .find(|entry| entry.as_ref().map_or(true, |entry| entry.offset == offset));
        self.give(&found.ok_or_else(missing)??).map(Some)
    }

    /// The first frame at or behind `offset` that can be read.
    pub(crate) fn first_from(&self, offset: u32) -> Option<(Header, Frame)> {
        let index = self.blocks.partition_point(|block| block.first <= offset);
        for index in index.saturating_sub(1)..self.blocks.len() {
            let Ok(bytes) = self.block(index) else { continue };
            let entries = entries(&bytes).map_while(Result::ok);
            let mut found = entries.filter(|entry| entry.offset >= offset);
            if let Some(given) = found.find_map(|entry| self.give(&entry).ok()) {
                return Some(given);
            }
        }
        None
    }

    fn give(&self, entry: &Entry<'_>) -> Result<(Header, Frame)> {
        let position = Position::new(self.number, entry.offset);
        let header = self.seal.decode(entry.header);
        let header =
            header.ok_or_else(|| self.damaged(entry.offset, "a frame header", "another"))?;
        let Header { check, group, .. } = header;
        Ok((header, Frame { position, check, group, body: Arc::from(entry.body) }))
    }

    /// A block's bytes, verified.
    fn block(&self, index: usize) -> Result<Arc<[u8]>> {
        if let Some((last, bytes)) = &*self.last.lock()
            && *last == index
        {
            return Ok(Arc::clone(bytes));
        }
        let block = &self.blocks[index];
        let mut stored = vec![0; block.stored_bytes as usize];
        let read = self.file.read_up_to(&mut stored, block.at);
        let read = read.map_err(|error| Error::io("read", error))?;
        let is_whole = read == stored.len()
            && self.key.block(self.number, block.first, &stored) == block.check;
        let bytes = match block.stored_bytes == block.bytes {
            _ if !is_whole => None,
            true => Some(stored),
            false => lz4_flex::block::decompress(&stored, block.bytes as usize).ok(),
        };
        let bytes = bytes.filter(|bytes| bytes.len() == block.bytes as usize);
        let bytes: Arc<[u8]> = bytes.map(Arc::from).ok_or_else(|| {
            let (expected, found) = ("the bytes of its check", "other bytes in the block");
            Error::damaged(file_name(self.number), block.at, expected, found)
        })?;
        if bytes.len() <= KEPT_BYTES_MAX {
            *self.last.lock() = Some((index, Arc::clone(&bytes)));
        }
        Ok(bytes)
    }

    fn damaged(&self, offset: u32, expected: &str, found: &str) -> Error {
        let expected = format!("{expected} (segment offset {offset})");
        Error::damaged(file_name(self.number), 0, expected, found)
    }
}

/// The frames of a block.
fn entries(bytes: &[u8]) -> impl Iterator<Item = Result<Entry<'_>>> {
    let mut reader = Reader::new("block of a pack", bytes);
    std::iter::from_fn(move || {
        if reader.left() == 0 {
            return None;
        }
        let mut entry = || {
            let (offset, length) = (reader.u32()?, reader.u32()?);
            let header = reader.bytes(frame::HEADER_BYTES)?;
            let header = header.try_into().expect("it was read to its length");
            Ok(Entry { offset, header, body: reader.bytes(length as usize)? })
        };
        Some(entry())
    })
}

fn decode_block(bytes: &[u8]) -> Result<Block> {
    let mut reader = Reader::new("directory of a pack", bytes);
    let (first, stored_bytes, bytes_count) = (reader.u32()?, reader.u32()?, reader.u32()?);
    if bytes_count > BODY_BYTES_MAX + (FULL_BYTES + ENTRY_BYTES) as u32 {
        return Err(reader
            .fail(4, "a block of at most a full one and a frame", bytes_count)
            .into());
    }
    let (at, check) = (reader.u64()?, reader.array()?);
    Ok(Block { first, at, stored_bytes, bytes: bytes_count, check })
}

fn encode_block(block: &Block, to: &mut Vec<u8>) {
    to.put_u32(block.first).put_u32(block.stored_bytes).put_u32(block.bytes);
    to.put_u64(block.at).put(&block.check);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::file::Disk;
    use crate::disk::local::LocalDisk;
    use crate::log::pack::writer::PackWriter;

    /// Opens a pack of one frame whose directory states the stored size of its block.
    fn opened(stored_bytes: impl FnOnce(u32) -> u32) -> Result<Pack> {
        let directory = tempfile::tempdir().unwrap();
        let file = LocalDisk.create(&directory.path().join("pack")).unwrap();
        let (number, id) = (1, DatabaseId::default());
        let mut writer = PackWriter::begin(&*file, number, id, Check::default()).unwrap();
        let body = [7; 100];
        let seal = Seal::new(id);
        let group = Position::new(number, 96);
        let header = seal.header(100, group, Check::default(), blake3::hash(&body));
        writer.add(96, &header, &body).unwrap();
        let footer_at = writer.finish().unwrap() - FOOTER_BYTES as u64;
        let (mut block, mut footer) = ([0; BLOCK_BYTES], [0; FOOTER_BYTES]);
        file.read_up_to(&mut block, footer_at - BLOCK_BYTES as u64).unwrap();
        file.read_up_to(&mut footer, footer_at).unwrap();
        // Anyone who knows the database's id can make it, with matching checks.
        let mut told = decode_block(&block).unwrap();
        told.stored_bytes = stored_bytes(told.stored_bytes);
        let mut forged = Vec::new();
        encode_block(&told, &mut forged);
        let fields = &footer[..FOOTER_BYTES - blake3::OUT_LEN];
        let check = Key::new(id).all(number, &[fields, &forged]);
        file.write_all_at(&forged, footer_at - BLOCK_BYTES as u64).unwrap();
        file.write_all_at(&check, footer_at + fields.len() as u64).unwrap();
        Pack::open(file, number, id)
    }

    #[test]
    fn no_room_is_made_for_a_block_that_is_longer_than_the_pack() {
        assert!(opened(|bytes| bytes).is_ok());
        for more in [1, 1000, u32::MAX - 1000] {
            let error = opened(|bytes| bytes + more).unwrap_err();
            assert!(error.to_string().contains("blocks that lie before"), "{error}");
        }
    }
}
