//! Writing a pack: frames in order, a block at a time, then the directory.
//!
//! This module does not know where frames come from, nor what was left out of them.

use std::io;

use object::codec::Write;

use super::{
    BLOCK_BYTES, Block, ENTRY_BYTES, FOOTER_BYTES, FULL_BYTES, HEADER_BYTES, Key, MAGIC, VERSION,
    encode_block,
};
use crate::disk::directory::DatabaseId;
use crate::disk::file::DiskFile;
use crate::log::frame::{Check, Header, Seal};
use crate::log::{file, frame};

/// A pack that is being written.
pub(crate) struct PackWriter<'a> {
    file: &'a dyn DiskFile,
    number: u32,
    key: Key,
    seal: Seal,
    /// The end of the last frame in the segment.
    end: u32,
    /// The place of the next block.
    at: u64,
    first: u32,
    open: Vec<u8>,
    blocks: Vec<Block>,
}

impl<'a> PackWriter<'a> {
    /// Starts a pack in an empty file.
    pub(crate) fn begin(
        file: &'a dyn DiskFile,
        number: u32,
        id: DatabaseId,
        previous: Check,
    ) -> io::Result<PackWriter<'a>> {
        let (key, seal) = (Key::new(id), Seal::new(id));
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put(&MAGIC).put_u32(VERSION).put_u32(number).put(&id).put(&previous);
        let check = key.all(number, &[&header]);
        header.put(&check);
        assert_eq!(header.len(), HEADER_BYTES, "a pack header has its length");
        file.write_all_at(&header, 0)?;
        let (open, blocks) = Default::default();
        let (end, at) = (file::HEADER_BYTES as u32, HEADER_BYTES as u64);
        Ok(PackWriter { file, number, key, seal, end, at, first: 0, open, blocks })
    }

    /// Adds the frame that was at `offset`, with the body that it keeps.
    pub(crate) fn add(&mut self, offset: u32, header: &Header, body: &[u8]) -> io::Result<()> {
        assert!(offset >= self.end, "frames come in the order of the segment");
        if self.open.is_empty() {
            self.first = offset;
        }
        self.open.reserve(ENTRY_BYTES + body.len());
        self.open.put_u32(offset).put_u32(body.len() as u32);
        self.open.put(&self.seal.encode(header)).put(body);
        self.end = offset + frame::HEADER_BYTES as u32 + header.length;
        if self.open.len() >= FULL_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        let compressed = lz4_flex::block::compress(&self.open);
        debug_assert_eq!(
            lz4_flex::block::decompress(&compressed, self.open.len()).ok().as_ref(),
            Some(&self.open),
            "what is compressed is read back"
        );
        let is_behind = |last: &Block| last.first < self.first;
        assert!(self.blocks.last().is_none_or(is_behind), "blocks are behind each other");
        let stored = if compressed.len() < self.open.len() { &compressed } else { &self.open };
        self.file.write_all_at(stored, self.at)?;
        self.blocks.push(Block {
            first: self.first,
            at: self.at,
            stored_bytes: stored.len() as u32,
            bytes: self.open.len() as u32,
            check: self.key.block(self.number, self.first, stored),
        });
        self.at += stored.len() as u64;
        self.open.clear();
        Ok(())
    }

    /// Writes the open block and the directory, and returns the pack's size in bytes. The file is
    /// not synced yet.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        if !self.open.is_empty() {
            self.end_block()?;
        }
        let mut directory = Vec::new();
        self.blocks.iter().for_each(|block| encode_block(block, &mut directory));
        let directory_bytes = self.blocks.len() * BLOCK_BYTES;
        assert_eq!(directory.len(), directory_bytes, "a block has its length in the directory");
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.put_u64(self.at).put_u32(self.blocks.len() as u32).put_u32(self.end);
        let check = self.key.all(self.number, &[&footer, &directory]);
        footer.put(&check);
        assert_eq!(footer.len(), FOOTER_BYTES, "a pack's end has its length");
        self.file.write_all_at(&directory, self.at)?;
        self.file.write_all_at(&footer, self.at + directory.len() as u64)?;
        Ok(self.at + (directory.len() + footer.len()) as u64)
    }
}
