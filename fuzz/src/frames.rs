//! The places of a log's frames, read from its files by the layout in `object/FORMAT.md`, without
//! any of the storage crate's checks.
//!
//! It reads undamaged logs only.

use std::path::{Path, PathBuf};

use crate::outcome::must;

/// Bytes before the first frame of a segment.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 96;
/// Bytes of a frame before its body.
pub(crate) const FRAME_HEADER_BYTES: usize = 80;

/// A frame of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    /// The index of its segment.
    pub(crate) segment: usize,
    /// The frame's start in the segment.
    pub(crate) offset: usize,
    /// The frame's bytes, with its header.
    pub(crate) length: usize,
    /// The start of its group, as the log writes positions.
    pub(crate) group: u64,
}

impl Frame {
    /// The frame's position, as the log writes positions.
    pub(crate) fn position(&self) -> u64 {
        (self.segment as u64 + 1) << 32 | self.offset as u64
    }
}

/// The file of the segment with this index.
pub(crate) fn path(database: &Path, segment: usize) -> PathBuf {
    database.join("log").join(format!("{:08}.log", segment + 1))
}

/// The bytes of all segments.
pub(crate) fn read(database: &Path) -> Result<Vec<Vec<u8>>, String> {
    let mut segments = Vec::new();
    while path(database, segments.len()).exists() {
        let bytes = std::fs::read(path(database, segments.len()));
        segments.push(must("reading a segment", bytes)?);
    }
    Ok(segments)
}

/// The frames in all segments.
pub(crate) fn find(segments: &[Vec<u8>]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (segment, bytes) in segments.iter().enumerate() {
        let mut offset = SEGMENT_HEADER_BYTES;
        while let Some(header) = bytes.get(offset..offset + FRAME_HEADER_BYTES) {
            if header.iter().all(|&byte| byte == 0) {
                break;
            }
            let length = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
            let group = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
            let length = FRAME_HEADER_BYTES + length as usize;
            frames.push(Frame { segment, offset, length, group });
            offset += length;
        }
    }
    frames
}

/// The records of a frame's body: the kind of each, and where its content begins.
pub(crate) fn records(body: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = body.get(at..at + 5)?;
        let length = u32::from_le_bytes(head[1..].try_into().expect("four bytes"));
        let found = (head[0], at + 5);
        at += 5 + length as usize;
        Some(found)
    })
}
