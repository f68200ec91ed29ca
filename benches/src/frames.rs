//! The frames that a run left in the log: the length of each, and the groups that were synced
//! together.
//!
//! Floors write the same bytes in the same groups. This module knows the places of a frame's length
//! and its group, by `FORMAT.md`, and nothing else about a frame; when that changes, the walk fails
//! rather than measures something else.
//!
//! Invariant: a walk ends at the end of the log, or is an error.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Bytes before the first frame of a segment.
const SEGMENT_HEADER_BYTES: u64 = 96;
/// Bytes of a frame before its body: the body's length, a guard, where the group starts, checks.
const FRAME_HEADER_BYTES: usize = 80;
const GROUP_OFFSET: usize = 8;
const READ_BYTES: usize = 1 << 20;

/// Reads on through the log of one database.
#[derive(Clone, Debug)]
pub struct Frames {
    log: PathBuf,
    segment: u32,
    offset: u64,
}

/// Frames that became durable together.
#[derive(Debug, Default)]
pub struct Group {
    /// The group's start, as the log records it.
    start: u64,
    /// All its frames, one behind the other.
    pub bytes: Vec<u8>,
    /// The length of each.
    pub lengths: Vec<usize>,
}

impl Frames {
    /// The log of the database in `path`, from its start.
    pub fn new(path: &Path) -> Frames {
        Frames { log: path.join("log"), segment: 1, offset: SEGMENT_HEADER_BYTES }
    }

    /// Walks over the groups since the last walk, and returns the number of frames.
    ///
    /// # Errors
    ///
    /// Those of `each`, of the file system, and a log of an unexpected form.
    pub fn walk(&mut self, mut each: impl FnMut(&Group) -> Result<()>) -> Result<u64> {
        let mut open = Group::default();
        let mut count = 0;
        loop {
            let path = self.path(self.segment);
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            let mut segment = BufReader::with_capacity(READ_BYTES, file);
            segment.seek(SeekFrom::Start(self.offset))?;
            while let Some(header) = next_header(&mut segment)? {
                if header.group != open.start && !open.lengths.is_empty() {
                    each(&open)?;
                    open.clear();
                }
                open.start = header.group;
                self.offset += open.read(&header, &mut segment)?;
                count += 1;
            }
            if !self.path(self.segment + 1).exists() {
                break;
            }
            (self.segment, self.offset) = (self.segment + 1, SEGMENT_HEADER_BYTES);
        }
        if !open.lengths.is_empty() {
            each(&open)?;
        }
        Ok(count)
    }

    /// Walks over the present log, and returns the number of the frames' bytes.
    ///
    /// # Errors
    ///
    /// As of [`Frames::walk`].
    pub fn skip(&mut self) -> Result<u64> {
        let mut bytes_count = 0;
        self.walk(|group| {
            bytes_count += group.bytes.len() as u64;
            Ok(())
        })?;
        Ok(bytes_count)
    }

    /// Returns the log's files up to the place of the last walk, each with its bytes in use.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub(crate) fn files(&self) -> Result<Vec<(PathBuf, u64)>> {
        let full = (1..self.segment).map(|segment| {
            let path = self.path(segment);
            let length = path.metadata()?.len();
            Ok((path, length))
        });
        full.chain([Ok((self.path(self.segment), self.offset))]).collect()
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.log.join(format!("{segment:08}.log"))
    }
}

impl Group {
    fn clear(&mut self) {
        self.bytes.clear();
        self.lengths.clear();
    }

    /// Adds the frame whose header was read, and returns its length.
    fn read(&mut self, header: &Header, segment: &mut impl Read) -> Result<u64> {
        let start = self.bytes.len();
        let length = FRAME_HEADER_BYTES + header.body_bytes;
        self.bytes.extend_from_slice(&header.bytes);
        self.bytes.resize(start + length, 0);
        let body = &mut self.bytes[start + FRAME_HEADER_BYTES..];
        segment.read_exact(body).context("a frame is in one segment")?;
        self.lengths.push(length);
        Ok(length as u64)
    }
}

struct Header {
    bytes: [u8; FRAME_HEADER_BYTES],
    body_bytes: usize,
    group: u64,
}

/// Reads the next header; none at the end of the segment's frames.
fn next_header(segment: &mut impl Read) -> Result<Option<Header>> {
    let mut found = Vec::with_capacity(FRAME_HEADER_BYTES);
    segment.take(FRAME_HEADER_BYTES as u64).read_to_end(&mut found)?;
    if found.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let bytes: [u8; FRAME_HEADER_BYTES] = found.try_into().ok().context("a frame is cut")?;
    let body_bytes = u32::from_le_bytes(*bytes.first_chunk().expect("it has 80 bytes"));
    let group = bytes[GROUP_OFFSET..].first_chunk().expect("it has 80 bytes");
    let group = u64::from_le_bytes(*group);
    ensure!(body_bytes > 0, "a frame has a body");
    Ok(Some(Header { bytes, body_bytes: body_bytes as usize, group }))
}
