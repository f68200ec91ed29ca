//! Copying a pack's file unchanged: all bytes, in pieces, verified.
//!
//! This module does not know their destination.

use super::{HEADER_BYTES, Pack, block_check, file_name};
use crate::error::{Error, Result};

/// Bytes that are passed on at a time.
const PIECE_BYTES: u64 = 1 << 20;

impl Pack {
    /// Returns whether this and `other` have the same bytes.
    pub(crate) fn is_same(&self, other: &Pack) -> bool {
        (self.number, self.previous, self.check) == (other.number, other.previous, other.check)
    }

    /// Passes every byte of the file to `to`, in order, each piece with its place, and returns
    /// their number.
    ///
    /// # Errors
    ///
    /// [`Damaged`](crate::ErrorKind::Damaged) when the last piece differs from the bytes that were
    /// written.
    pub(crate) fn pass(&self, mut to: impl FnMut(&[u8], u64) -> Result<()>) -> Result<u64> {
        let end = self.file.length().map_err(|error| Error::io("read", error))?;
        // The header, and behind the blocks the directory, which were verified when it was opened.
        let mut at = self.blocks.first().map_or(HEADER_BYTES as u64, |block| block.at);
        self.pieces(0, at, &mut to)?;
        for block in &self.blocks {
            let mut hasher = self.key.block_hasher(self.number, block.first);
            let block_end = block.at + u64::from(block.stored_bytes);
            self.pieces(block.at, block_end, |bytes, at| {
                hasher.update(bytes);
                to(bytes, at)
            })?;
            if block_check(&hasher) != block.check {
                let (expected, found) = ("the bytes of its check", "other bytes in the block");
                return Err(Error::damaged(file_name(self.number), block.at, expected, found));
            }
            at = block_end;
        }
        self.pieces(at, end, &mut to)?;
        Ok(end)
    }

    fn pieces(
        &self,
        from: u64,
        end: u64,
        mut to: impl FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<()> {
        let mut buffer = vec![0; end.saturating_sub(from).min(PIECE_BYTES) as usize];
        let mut at = from;
        while at < end {
            let piece = &mut buffer[..(end - at).min(PIECE_BYTES) as usize];
            let read = self.file.read_up_to(piece, at);
            if read.map_err(|error| Error::io("read", error))? < piece.len() {
                return Err(Error::damaged(
                    file_name(self.number),
                    at,
                    "a pack's bytes",
                    "its end",
                ));
            }
            to(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}
