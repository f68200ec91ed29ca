//! Where output goes: stdout, as lines for people or as JSON for programs.
//!
//! It does not know what is printed. A reader that goes away ends the command quietly.

use std::io::{BufWriter, StdoutLock, Write};

use serde_json::Value as Json;

use crate::failure::{Failure, Result};

/// Prints to stdout.
#[derive(Debug)]
pub(crate) struct Printer {
    json: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Printer {
    pub(crate) fn stdout(json: bool) -> Printer {
        Printer { json, out: BufWriter::new(std::io::stdout().lock()) }
    }

    /// Whether programs read it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a line for people.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.out, "{line}").map_err(|error| Failure::print(&error))
    }

    /// Prints a document for programs, on one line.
    pub(crate) fn document(&mut self, document: &Json) -> Result<()> {
        writeln!(self.out, "{document}").map_err(|error| Failure::print(&error))
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Failure::print(&error))
    }

    /// Prints labels and what they label, aligned.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, String)]) -> Result<()> {
        let width = pairs.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        for (label, text) in pairs {
            self.line(format!("{label:width$}  {text}").trim_end())?;
        }
        Ok(())
    }

    /// Lets go of what was printed so far.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|error| Failure::print(&error))
    }
}
