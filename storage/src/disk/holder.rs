//! The process that has a file's lock, as the kernel reports it: for the message that the file is
//! locked.
//!
//! Nothing is written for it, so a crash leaves nothing that could name the wrong one. A process
//! chooses its own name: its command line is made harmless before it is shown. This module does not
//! know the file's purpose.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Bytes of a command that are read.
const COMMAND_BYTES_MAX: u64 = 4096;
/// Characters of a command that are shown.
const COMMAND_CHARS_MAX: usize = 160;
/// Bytes of the kernel's list of locks that are read.
const LOCKS_BYTES_MAX: u64 = 4 << 20;
/// The number of open files of a process that are examined.
const FILES_MAX: usize = 4096;

/// A process that has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// The process.
    pub pid: u32,
    /// The process's command line, with control characters and those that reverse a line escaped;
    /// empty where the system does not report it.
    pub command: String,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == std::process::id() {
            return f.write_str("this same process, which has it open already");
        }
        write!(f, "process {}", self.pid)?;
        match self.command.is_empty() {
            true => Ok(()),
            false => write!(f, ", {}", self.command),
        }
    }
}

impl std::error::Error for LockHolder {}

/// Returns a process that has the lock of an open file.
pub(super) fn of(file: &File) -> Option<LockHolder> {
    let here = file.metadata().ok()?;
    let (device, inode) = (here.dev(), here.ino());
    let locks = read("/proc/locks", LOCKS_BYTES_MAX)?;
    let locks = String::from_utf8_lossy(&locks).into_owned();
    // The list may have another device number than the file's, as on btrfs; then the process's open
    // files decide.
    let mut of_inode = locks.lines().filter_map(parse).filter(|lock| lock.inode == inode);
    let holder = of_inode.find(|lock| lock.device == device || has_open(lock.pid, (device, inode)));
    let pid = holder?.pid;
    let command = read(&format!("/proc/{pid}/cmdline"), COMMAND_BYTES_MAX).unwrap_or_default();
    Some(LockHolder { pid, command: harmless(&command) })
}

/// A lock in the kernel's list.
#[derive(Debug, PartialEq, Eq)]
struct Lock {
    pid: u32,
    device: u64,
    inode: u64,
}

/// Reads a line such as `1: FLOCK  ADVISORY  WRITE 13000 fe:00:5373995 0 EOF`. One that waits for
/// a lock has `->` behind its number.
fn parse(line: &str) -> Option<Lock> {
    let mut words = line.split_whitespace().skip(1);
    if words.next()? != "FLOCK" {
        return None;
    }
    let pid = words.nth(2)?.parse().ok().filter(|&pid| pid > 0)?;
    let mut place = words.next()?.split(':');
    let mut number = || u32::from_str_radix(place.next()?, 16).ok();
    let device = device(number()?, number()?);
    Some(Lock { pid, device, inode: place.next()?.parse().ok()? })
}

/// The number that a device with these two numbers has in a file's metadata.
fn device(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (major & !0xfff) << 32 | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (minor & 0xff)
}

/// Returns whether a process has a file open.
fn has_open(pid: u32, file: (u64, u64)) -> bool {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut files = files.take(FILES_MAX).filter_map(|entry| entry.ok()?.path().metadata().ok());
    files.any(|found| (found.dev(), found.ino()) == file)
}

fn read(path: &str, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Returns a command as one line that is harmless to show.
fn harmless(command: &[u8]) -> String {
    let text = String::from_utf8_lossy(command);
    let text = text.trim_end_matches('\0').replace('\0', " ");
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == COMMAND_CHARS_MAX {
            shown.push_str("...");
            break;
        }
        match c {
            c if c.is_control() || turns_a_line(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns whether a character ends a line, or changes the order in which one is read.
fn turns_a_line(c: char) -> bool {
    let is_invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2069}');
    is_invisible || matches!(c, '\u{61c}' | '\u{2028}'..='\u{202e}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_list_is_read_and_others_are_passed() {
        let lock = parse("1: FLOCK  ADVISORY  WRITE 13000 fe:01:5373995 0 EOF");
        assert_eq!(lock, Some(Lock { pid: 13000, device: 0xfe01, inode: 5_373_995 }));
        for line in [
            "1: POSIX  ADVISORY  WRITE 13000 fe:00:5373995 0 EOF",
            "1: -> FLOCK  ADVISORY  WRITE 13000 fe:00:5373995 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 0 fe:00:5373995 0 EOF",
            "1: FLOCK  ADVISORY  WRITE x fe:00:5373995 0 EOF",
            "1: FLOCK  ADVISORY  WRITE 13000 fe:00",
            "",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_command_is_shown_on_one_line_and_cut() {
        assert_eq!(harmless(b"continuant\0run\0--db\0x\0"), "continuant run --db x");
        let hostile = "a\0\u{1b}[2Jb\nc\u{202e}d\u{9b}e";
        let shown = harmless(hostile.as_bytes());
        assert_eq!(shown, "a \\u{1b}[2Jb\\u{a}c\\u{202e}d\\u{9b}e");
        assert_eq!(harmless(&[0xff, b'a']), "\u{fffd}a");
        assert_eq!(harmless(&[b'x'; 500]), format!("{}...", "x".repeat(COMMAND_CHARS_MAX)));
        assert_eq!(LockHolder { pid: 0, command: String::new() }.to_string(), "process 0");
    }
}
