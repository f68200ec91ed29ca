//! The machine of the figures: its cores, memory and file system, its noise, and the memory that
//! this process took.
//!
//! Facts that a system does not report are left out or printed as unknown.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use continuant::object::hash::MemoryRoot;

use crate::figure::{Figure, Samples, Unit};
use crate::floor::Appended;

/// Returns one line on the machine.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = mebibytes("/proc/meminfo", "MemTotal:");
    let memory = memory.map_or("unknown memory".into(), |size| format!("{:.1} GiB", size / 1024.0));
    let temporary = std::env::temp_dir();
    let file_system = file_system(&temporary).unwrap_or_else(|| "an unknown file system".into());
    let build = if cfg!(debug_assertions) { "debug: say nothing by it" } else { "release" };
    format!("machine: {cores} cores, {memory}, temporary files on {file_system}; build: {build}")
}

/// The type of the file system that `path` is on.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((PathBuf::from(words.next()?), words.next()?))
    });
    let holding = mounts.filter(|(mount, _)| path.starts_with(mount));
    let nearest = holding.max_by_key(|(mount, _)| mount.as_os_str().len())?;
    Some(nearest.1.to_string())
}

/// Measures the spread of runs of the same work: work of the processor, and of the disk.
///
/// # Errors
///
/// Those of the file system.
pub fn noise(runs: usize) -> Result<Vec<Figure>> {
    let bytes = vec![7; 4 << 20];
    let hash = |_| {
        let start = Instant::now();
        black_box(MemoryRoot::of(black_box(&bytes)));
        start.elapsed().as_secs_f64()
    };
    // The first run of each finds everything cold.
    let processor: Samples = (0..=runs).map(hash).skip(1).collect();
    let directory = tempfile::tempdir()?;
    let mut file = Appended::create(directory.path(), 4096 * (runs as u64 + 1))?;
    file.append(&bytes[..4096])?;
    let mut disk = Samples::default();
    for _ in 0..runs {
        disk.push(file.append(&bytes[..4096])?.as_secs_f64());
    }
    let processor = processor.spread_percent();
    let disk = disk.spread_percent();
    let about = "spread of hashing the same 4 MiB with BLAKE3, (max - min) / median";
    let processor = Figure::single("noise.processor", about, Unit::PERCENT, processor);
    let about = "spread of appending 4 KiB and fdatasync, (max - min) / median";
    Ok(vec![processor, Figure::single("noise.sync", about, Unit::PERCENT, disk)])
}

/// Makes the kernel count the largest resident set from now on, if it can.
pub(crate) fn forget_peak() {
    // If the kernel cannot, the largest since the process began is shown: more, never less.
    fs::write("/proc/self/clear_refs", "5").unwrap_or_default();
}

/// The largest resident set since the last [`forget_peak`], in MiB.
pub(crate) fn peak() -> Option<f64> {
    mebibytes("/proc/self/status", "VmHWM:")
}

/// The resident set now.
pub(crate) fn resident_bytes() -> Option<u64> {
    mebibytes("/proc/self/status", "VmRSS:").map(|size| (size * 1024.0 * 1024.0) as u64)
}

/// The time of processors that the process took so far, in hundredths of a second.
pub(crate) fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process, which may have anything in it, ends with the last parenthesis.
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// Makes the file system write its pending data, so that the next measurement does not pay for it.
pub fn settle() {
    #[cfg(target_os = "linux")]
    rustix::fs::sync();
}

/// A size in a file of lines such as `VmRSS:  1024 kB`, in MiB.
fn mebibytes(path: &str, field: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let size: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(size / 1024.0)
}
