//! The lines of a batch, read one after the other in bounded memory.
//!
//! It does not know the calls.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use continuant::object::limits::PAYLOAD_BYTES_MAX;

use crate::failure::{Failure, Result};

/// Bytes of a line: the arguments of a call as JSON, where a byte may be six.
const LINE_BYTES_MAX: usize = 8 * PAYLOAD_BYTES_MAX;
/// Lines that are made together, and their bytes.
const GROUP_LINES: usize = 1024;
const GROUP_BYTES: usize = 16 << 20;
/// The mark that some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A line that is not blank.
#[derive(Debug)]
pub(super) struct Line {
    /// The line's number in the file, from 1.
    pub(super) number: u64,
    pub(super) text: String,
}

/// Reads lines.
pub(super) struct Lines {
    path: PathBuf,
    from: Box<dyn BufRead>,
    number: u64,
    /// True if the end was read.
    is_over: bool,
}

impl Lines {
    /// Opens a file, `-` for stdin.
    pub(super) fn open(path: &Path) -> Result<Lines> {
        let from: Box<dyn BufRead> = match path == Path::new("-") {
            true => Box::new(io::stdin().lock()),
            false => match File::open(path) {
                Ok(file) => Box::new(BufReader::new(file)),
                Err(error) => return Err(Failure::file("reading calls", path, &error)),
            },
        };
        Ok(Lines { path: path.to_path_buf(), from, number: 0, is_over: false })
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<Line>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let mut part = (&mut self.from).take(LINE_BYTES_MAX as u64 + 1);
            let read = part.read_until(b'\n', &mut bytes);
            let read = read.map_err(|error| Failure::file("reading calls", &self.path, &error))?;
            if read == 0 {
                self.is_over = true;
                return Ok(None);
            }
            self.number += 1;
            let about = |message: String| Failure::usage(message).about(self.place());
            if read > LINE_BYTES_MAX {
                return Err(about(format!("expected at most {LINE_BYTES_MAX} bytes, found more")));
            }
            if self.number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut bytes));
            let text = text.map_err(|_| about("expected UTF-8 text, found other bytes".into()))?;
            return Ok(Some(Line { number: self.number, text }));
        }
    }

    /// Returns whether no line is left, as far as that is known without waiting for another.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The lines that are made together next.
    pub(super) fn group(&mut self) -> impl Iterator<Item = Result<Line>> {
        let mut bytes = 0;
        (0..GROUP_LINES).map_while(move |_| {
            if bytes > GROUP_BYTES {
                return None;
            }
            let line = self.next().transpose()?;
            bytes += line.as_ref().map_or(0, |line| line.text.len());
            Some(line)
        })
    }

    fn place(&self) -> String {
        format!("line {}", self.number)
    }
}
