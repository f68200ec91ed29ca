//! A few lines that are shown again and again: drawn in place on a terminal, and printed one after
//! another, with an empty line between, where there is none.
//!
//! It does not know what the lines say.

use std::io;

use console::{Term, truncate_str};

use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Where the lines are shown.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Option<Term>,
    /// Lines on the terminal.
    drawn: usize,
}

impl Screen {
    /// On stdout.
    pub(crate) fn new() -> Screen {
        let terminal = Term::buffered_stdout();
        Screen { terminal: terminal.is_term().then_some(terminal), drawn: 0 }
    }

    /// Shows the lines in place of those that were shown before.
    pub(crate) fn show(&mut self, printer: &mut Printer, lines: &[String]) -> Result<()> {
        if let Some(terminal) = &self.terminal {
            let drawn = draw(terminal, lines, self.drawn).map_err(|error| Failure::print(&error));
            self.drawn = drawn?;
            return Ok(());
        }
        lines.iter().try_for_each(|line| printer.line(line))?;
        printer.line("")?;
        printer.flush()
    }
}

/// Draws the lines over the last `before`; gives how many there was room for.
fn draw(terminal: &Term, lines: &[String], before: usize) -> io::Result<usize> {
    let (rows, columns) = terminal.size();
    let room = usize::from(rows).saturating_sub(1);
    terminal.clear_last_lines(before.min(room))?;
    let shown = lines.iter().take(room);
    // A line that is broken would take two rows.
    shown
        .clone()
        .try_for_each(|line| terminal.write_line(&truncate_str(line, usize::from(columns), "")))?;
    terminal.flush()?;
    Ok(shown.len())
}
