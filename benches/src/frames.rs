//! The frames that a run left in the log: how long each is, and which were synced together.
//!
//! Floors write the same bytes in the same groups. It knows where a frame's length and its group
//! stand, as `FORMAT.md` of the storage crate says, and nothing else about a frame; when that
//! changes, the walk fails rather than measures something else.
//!
//! Invariant: a walk ends at the end of the log, or is an error.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Bytes before the first frame of a segment.
const SEGMENT_HEADER_BYTES: usize = 96;
/// Bytes of a frame before its body: the body's length, a guard, where the group starts, checks.
const FRAME_HEADER_BYTES: usize = 80;
const GROUP_OFFSET: usize = 8;

/// Reads on through the log of one database.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    log: PathBuf,
    segment: u32,
    offset: usize,
}

/// Frames that became durable together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Where the log says that it starts.
    start: u64,
    /// All its frames, one behind the other.
    pub(crate) bytes: Vec<u8>,
    /// The length of each.
    pub(crate) lengths: Vec<usize>,
}

impl Frames {
    /// The log of the database in `path`, from its start.
    pub(crate) fn new(path: &Path) -> Frames {
        Frames { log: path.join("log"), segment: 1, offset: SEGMENT_HEADER_BYTES }
    }

    /// Walks over the groups since the last walk; how many frames there were.
    pub(crate) fn walk(&mut self, mut each: impl FnMut(Group) -> Result<()>) -> Result<u64> {
        let mut open = Group::default();
        let mut count = 0;
        loop {
            let path = self.path(self.segment);
            let segment = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            while let Some((group, frame)) = frame(&segment, self.offset)? {
                if group != open.start && !open.lengths.is_empty() {
                    each(std::mem::take(&mut open))?;
                }
                open.start = group;
                open.bytes.extend_from_slice(frame);
                open.lengths.push(frame.len());
                self.offset += frame.len();
                count += 1;
            }
            if !self.path(self.segment + 1).exists() {
                break;
            }
            (self.segment, self.offset) = (self.segment + 1, SEGMENT_HEADER_BYTES);
        }
        if !open.lengths.is_empty() {
            each(open)?;
        }
        Ok(count)
    }

    /// Leaves out what the log has already.
    pub(crate) fn skip(&mut self) -> Result<()> {
        self.walk(|_| Ok(())).map(|_| ())
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.log.join(format!("{segment:08}.log"))
    }
}

/// The frame at `offset` with its group; none at the end of what the segment has.
fn frame(segment: &[u8], offset: usize) -> Result<Option<(u64, &[u8])>> {
    let Some(header) = segment.get(offset..offset + FRAME_HEADER_BYTES) else {
        ensure!(segment[offset..].iter().all(|&byte| byte == 0), "a frame is cut");
        return Ok(None);
    };
    if header.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let (length, rest) = header.split_first_chunk().context("a header has a length")?;
    let length = FRAME_HEADER_BYTES + u32::from_le_bytes(*length) as usize;
    let group = rest[GROUP_OFFSET - 4..].first_chunk().context("a header has a group")?;
    let frame = segment.get(offset..offset + length).context("a frame is in one segment")?;
    Ok(Some((u64::from_le_bytes(*group), frame)))
}
