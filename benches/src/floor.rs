//! The floors: the best that the machine can do with the same bytes and none of our work.
//!
//! They know bytes and lengths, not the meaning of the bytes.

mod guest;

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use continuant::object::hash::MemoryRoot;
use continuant::object::memory::Page;

use crate::commits::By;
use crate::frames::Frames;
pub(crate) use guest::Guest;

/// A preallocated file that is appended to, as the log's segments are.
#[derive(Debug)]
pub struct Appended {
    file: File,
    end: u64,
}

impl Appended {
    /// Makes a new file in `directory` that has room for `bytes` bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn create(directory: &Path, bytes: u64) -> Result<Appended> {
        let file = tempfile::tempfile_in(directory)?;
        allocate(&file, bytes)?;
        file.sync_all()?;
        Ok(Appended { file, end: 0 })
    }

    /// Appends with one write and one sync, and returns the time of both.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn append(&mut self, bytes: &[u8]) -> Result<Duration> {
        let start = Instant::now();
        self.file.write_all_at(bytes, self.end)?;
        self.file.sync_data()?;
        let took = start.elapsed();
        self.end += bytes.len() as u64;
        Ok(took)
    }
}

/// Appends the frames that come behind the last walk to a file in `directory`; how long each write
/// and sync took, and how many frames there were.
pub(crate) fn append_again(
    frames: &Frames,
    directory: &Path,
    by: By,
) -> Result<(Vec<Duration>, u64)> {
    let bytes_count = frames.clone().skip()?;
    let mut file = Appended::create(directory, bytes_count)?;
    let mut took = Vec::new();
    let walked = frames.clone().walk(|group| {
        let mut rest = &group.bytes[..];
        let all = [rest.len()];
        for length in if by == By::Group { &all[..] } else { &group.lengths[..] } {
            let (some, behind) = rest.split_at(*length);
            took.push(file.append(some)?);
            rest = behind;
        }
        Ok(())
    })?;
    Ok((took, walked))
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(file.set_len(bytes)?),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, bytes: u64) -> Result<()> {
    Ok(file.set_len(bytes)?)
}

/// Bytes that are read at a time, as recovery does.
const READ_BYTES: usize = 1 << 20;

/// Reads the first bytes of files, one after another, and hashes them; how long that took.
pub(crate) fn read_and_hash(files: &[(PathBuf, u64)]) -> Result<Duration> {
    let mut bytes = vec![0; READ_BYTES];
    let start = Instant::now();
    for (path, length) in files {
        let mut file = File::open(path)?.take(*length);
        loop {
            let read = file.read(&mut bytes)?;
            if read == 0 {
                break;
            }
            black_box(MemoryRoot::of(black_box(&bytes[..read])));
        }
    }
    Ok(start.elapsed())
}

/// Makes the kernel drop its cache of files.
pub(crate) fn forget(files: &[(PathBuf, u64)]) -> Result<()> {
    for (path, _) in files {
        let file = File::open(path)?;
        file.sync_all()?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// Bytes of copied frames that are kept before their buffer is used again.
const GROUP_BYTES: usize = 32 << 20;

/// Does the necessary work of a step: for each frame, a call of a guest without instrumentation,
/// the hash of one page and the copy of the frame into a group. Nothing is decided, nothing is
/// written.
pub(crate) fn step(guest: &mut Guest, frame: &[u8], count: usize) -> Result<Duration> {
    let increment = guest.function("increment")?;
    let mut page: Page = [7; 4096];
    let mut group = Vec::with_capacity(GROUP_BYTES + frame.len());
    let start = Instant::now();
    for _ in 0..count {
        let count = guest.call(&increment, 1)?;
        page[..8].copy_from_slice(&count.to_le_bytes());
        black_box(MemoryRoot::of(black_box(&page)));
        if group.len() >= GROUP_BYTES {
            group.clear();
        }
        group.extend_from_slice(black_box(frame));
        black_box(group.as_ptr());
    }
    Ok(start.elapsed())
}
