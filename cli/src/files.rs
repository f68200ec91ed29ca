//! Files that commands read and write: none is read beyond its limit, and none is left half
//! written.
//!
//! This module does not know the content. Any file may be read, `/dev/zero` too: at most the limit
//! and one byte are read. Output goes to a temporary file beside the named one, and replaces it
//! once it is whole. Files other than plain ones are written through: a symbolic link stays and its
//! target is replaced, and a pipe or a device is opened and written.
//!
//! Invariant: nothing but a plain file is ever replaced, and no file of a database or a backup is
//! written, nor one that would be taken for one of theirs.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use continuant::storage::{MARKER, MARKER_MAGIC, is_of_database};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::failure::{Failure, Result};
use crate::stop;

/// The most bytes of a file of calls, of flights, of an argument.
pub(crate) const LISTING_BYTES_MAX: usize = 256 << 20;
/// Symbolic links that one may lead to, one after another.
const LINKS_MAX: usize = 40;
/// Pauses between two looks whether a pipe has a reader, or room.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// The prefix of a file's name while it is not whole.
const PART: &str = ".continuant-";

/// Reads a file of at most `max` bytes.
pub(crate) fn read_at_most(doing: &str, path: &Path, max: usize) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| Failure::file(doing, path, &error))?;
    read_all(doing, path, file, max)
}

/// Reads a file of at most `max` bytes of text; `-` is stdin.
///
/// Leaves out a mark of the byte order at the beginning, which editors put there.
pub(crate) fn text(doing: &str, path: &Path, max: usize) -> Result<String> {
    let bytes = match path == Path::new("-") {
        true => read_all(doing, path, io::stdin().lock(), max)?,
        false => read_at_most(doing, path, max)?,
    };
    decode(path, bytes)
}

fn read_all(doing: &str, path: &Path, from: impl Read, max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = from.take(max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::file(doing, path, &error))?;
    if bytes.len() > max {
        let path = path.display();
        let message = format!("{doing} {path}: expected at most {max} bytes, found more");
        return Err(Failure::new("limit", message));
    }
    Ok(bytes)
}

/// The text that the bytes of a file are.
pub(crate) fn decode(path: &Path, bytes: Vec<u8>) -> Result<String> {
    let not_text = |found: &str| {
        let problem = format!("{}: expected text in UTF-8, found {found}", path.display());
        Failure::new("text", problem)
    };
    let bytes = without_mark(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(not_text("UTF-16: save it as UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        not_text(&format!("byte {:#04x} at offset {at}", error.as_bytes()[at]))
    })
}

/// The bytes of a text without a mark of the byte order at the beginning.
pub(crate) fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    const UTF_8: &[u8] = b"\xef\xbb\xbf";
    if bytes.starts_with(UTF_8) {
        bytes.drain(..UTF_8.len());
    }
    bytes
}

/// Writes the output of `fill` to the file, durably, and returns its length. Replaces a file that
/// is not empty only with `force`.
pub(crate) fn write(
    path: &Path,
    force: bool,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<u64> {
    require_apart(path)?;
    let fail = |error: io::Error| Failure::file("writing", path, &error);
    let place = Place::of(path).map_err(fail)?;
    if !force && matches!(&place, Place::Plain { before: Some(before), .. } if before.len() > 0) {
        let message = format!("{} exists: --force writes over it", path.display());
        return Err(Failure::new("exists", message));
    }
    let orderly = stop::orderly();
    let done = match place {
        Place::Plain { at, before } => {
            let part = Part::beside(at, before).map_err(fail)?;
            let count = filled(path, part.0.as_file(), fill);
            count.and_then(|count| part.persist(true).map(|()| count).map_err(fail))
        }
        Place::Through => {
            open_through(path).map_err(fail).and_then(|file| filled(path, Patient(&file), fill))
        }
    };
    drop(orderly);
    match stop::asked() {
        Some(signal) if done.is_err() => {
            let message = format!("{} was not written", path.display());
            Err(Failure::stopped(signal, message))
        }
        _ => done,
    }
}

/// Has a file filled, and counts the bytes.
fn filled(
    path: &Path,
    file: impl Write,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<u64> {
    let mut out = BufWriter::new(Counted { out: file, count: 0, failed: None });
    if let Err(failure) = fill(&mut out) {
        // The file's write failed, not the source that `fill` reads.
        let failed = out.into_parts().0.failed;
        return Err(failed.map_or(failure, |error| Failure::file("writing", path, &error)));
    }
    let counted = out.into_inner().map_err(|error| error.into_error());
    counted.map(|out| out.count).map_err(|error| Failure::file("writing", path, &error))
}

/// Opens a file to write it through; for the reader of a pipe it waits until a signal asks the
/// process to end.
fn open_through(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    if !std::fs::metadata(path)?.file_type().is_fifo() {
        return options.open(path);
    }
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    loop {
        match options.open(path) {
            Err(error) if is_unread(&error) && stop::asked().is_none() => {
                stop::pause(PAUSE_MAX, || false);
            }
            opened => return opened,
        }
    }
}

/// A writer to a pipe that waits for its reader until a signal asks the process to end.
struct Patient<'a>(&'a File);

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && stop::asked().is_none() => {
                    stop::pause(pause, || false);
                    pause = (2 * pause).min(PAUSE_MAX);
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A writer that counts, until a signal asks the process to end.
struct Counted<W> {
    out: W,
    count: u64,
    /// The failure of the last write.
    failed: Option<io::Error>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if stop::asked().is_some() {
            return Err(io::Error::other("stopped by a signal"));
        }
        match self.out.write(bytes) {
            Ok(count) => {
                self.count += count as u64;
                Ok(count)
            }
            Err(error) => {
                let kept = match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => error.kind().into(),
                };
                self.failed = Some(kept);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Puts a text where readers look for the newest again and again: they find the old one or the new
/// one. A pipe is written only while it has a reader, without waiting for one.
pub(crate) fn publish(path: &Path, text: &str) -> Result<()> {
    require_apart(path)?;
    let published = match Place::of(path) {
        Ok(Place::Plain { at, before }) => Part::beside(at, before).and_then(|part| {
            part.0.as_file().write_all(text.as_bytes())?;
            part.persist(false)
        }),
        Ok(Place::Through) => match write_through(path, text) {
            // Nobody reads the pipe, or nobody does any more.
            Err(error) if is_unread(&error) => Ok(()),
            written => written,
        },
        Err(error) => Err(error),
    };
    published.map_err(|error| Failure::file("writing", path, &error))
}

fn is_unread(error: &io::Error) -> bool {
    let no_reader = Some(rustix::io::Errno::NXIO.raw_os_error());
    error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == no_reader
}

fn write_through(path: &Path, text: &str) -> io::Result<()> {
    let nonblocking = OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(nonblocking.bits().cast_signed());
    let mut file = options.open(path)?;
    // Somebody reads it: all of the text is for them.
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags.difference(nonblocking))?;
    file.write_all(text.as_bytes())
}

/// Checks that a file to be written would be none of the files of a database or a backup. Others
/// may be beside them.
pub(crate) fn require_apart(path: &Path) -> Result<()> {
    // A link leads to the file that is written; the folder of a new one may be missing.
    let at = path.canonicalize().or_else(|_| match Place::new(path)? {
        Place::Plain { at, .. } => std::path::absolute(at),
        Place::Through => std::path::absolute(path),
    });
    let at = at.map_err(|error| Failure::file("writing", path, &error))?;
    let real = |folder: &Path| {
        let behind = at.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(behind))
    };
    let at = at.ancestors().skip(1).find_map(real).unwrap_or_else(|| at.clone());
    let is_part =
        |folder: &&Path| at.strip_prefix(folder).is_ok_and(is_of_database) && is_database(folder);
    match at.ancestors().skip(1).find(is_part) {
        Some(database) => {
            let (path, database) = (path.display(), database.display());
            let message =
                format!("{path} is a file of {database}, which is a database or a backup");
            Err(Failure::new("in-database", format!("{message}: name another file")))
        }
        None => Ok(()),
    }
}

/// Returns whether a directory has the marker of a database.
fn is_database(directory: &Path) -> bool {
    let marker = directory.join(MARKER);
    let mut magic = [0; MARKER_MAGIC.len()];
    let is_file = std::fs::metadata(&marker).is_ok_and(|about| about.is_file());
    let mut read = || File::open(&marker)?.read_exact(&mut magic);
    is_file && read().is_ok() && magic == MARKER_MAGIC
}

/// Returns whether a file exists that is not a plain one, such as a pipe: it can be read once, from
/// its beginning to its end.
pub(crate) fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// The way in which a file of a name is written.
enum Place {
    /// A plain file, or nothing yet; links lead there.
    Plain { at: PathBuf, before: Option<Metadata> },
    /// A pipe, a device, or a file that is open already.
    Through,
}

impl Place {
    fn of(path: &Path) -> io::Result<Place> {
        // Files that are open already.
        if ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|it| path.starts_with(it))
        {
            return Ok(Place::Through);
        }
        match std::fs::metadata(path) {
            Ok(about) if about.is_file() => {
                let at = path.canonicalize()?;
                Ok(Place::Plain { at, before: Some(about) })
            }
            Ok(about) if about.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(about) if about.file_type().is_socket() => Err(ErrorKind::Unsupported.into()),
            Ok(_) => Ok(Place::Through),
            Err(error) if error.kind() == ErrorKind::NotFound => Place::new(path),
            Err(error) => Err(error),
        }
    }

    /// The place of a file that is not there, to which links may lead.
    fn new(path: &Path) -> io::Result<Place> {
        let mut at = path.to_path_buf();
        for _ in 0..LINKS_MAX {
            match std::fs::read_link(&at) {
                Ok(target) => at = folder(&at).join(target),
                Err(_) => return Ok(Place::Plain { at, before: None }),
            }
        }
        Err(ErrorKind::NotFound.into())
    }
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A file that is not whole yet, beside the one that it becomes. It is gone if it never does.
struct Part(tempfile::NamedTempFile, PathBuf);

impl Part {
    /// Makes the temporary file. It has the permissions of the file before, or of any new file.
    fn beside(at: PathBuf, before: Option<Metadata>) -> io::Result<Part> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PART).permissions(std::fs::Permissions::from_mode(0o666));
        let part = builder.tempfile_in(folder(&at))?;
        if let Some(before) = before {
            part.as_file().set_permissions(before.permissions())?;
        }
        Ok(Part(part, at))
    }

    fn persist(self, is_durable: bool) -> io::Result<()> {
        let Part(part, at) = self;
        if is_durable {
            part.as_file().sync_all()?;
        }
        part.persist(&at).map_err(|error| error.error)?;
        if is_durable {
            File::open(folder(&at))?.sync_all()?;
        }
        Ok(())
    }
}

/// Writes a secret to a file that is not there yet, which its owner alone may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PART).permissions(std::fs::Permissions::from_mode(0o600));
    let mut part = builder.tempfile_in(folder(path))?;
    part.write_all(text.as_bytes())?;
    part.as_file().sync_all()?;
    part.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_the_limit_allows() {
        let read = |max| read_at_most("reading", Path::new("/dev/zero"), max);
        let failure = read(1000).expect_err("it never ends");
        assert_eq!(failure.message(), "reading /dev/zero: expected at most 1000 bytes, found more");
        assert_eq!(failure.kind(), "limit");
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 1000]).expect("it is written");
        assert_eq!(read_at_most("reading", &path, 1000).expect("it fits").len(), 1000);
        assert!(read_at_most("reading", &path, 999).is_err());
    }

    #[test]
    fn marks_of_the_byte_order_are_no_text() {
        let read = |bytes: &[u8]| decode(Path::new("file"), bytes.to_vec());
        assert_eq!(read(b"\xef\xbb\xbftext").expect("it is text"), "text");
        assert_eq!(read("a\u{feff}b".as_bytes()).expect("it is text"), "a\u{feff}b");
        for wrong in [&b"\xff\xfet\0"[..], b"\xfe\xff\0t", b"t\x80", b"\xef\xbb\xbf\xff"] {
            assert!(read(wrong).is_err_and(|failure| failure.message().contains("UTF-8")));
        }
    }
}
