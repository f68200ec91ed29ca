//! A few lines that are shown again and again: drawn in place on a terminal, and printed one after
//! another, with an empty line between, without one.
//!
//! This module does not know the lines.

use std::io;

use console::{Term, truncate_str};

use crate::escape;
use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// The lines' place on the screen.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: Option<Term>,
    /// Lines on the terminal.
    drawn: usize,
}

impl Screen {
    /// Returns a screen on stdout.
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

/// Draws the lines over the last `before`; returns how many there was room for.
fn draw(terminal: &Term, lines: &[String], before: usize) -> io::Result<usize> {
    let (rows, columns) = terminal.size();
    let room = usize::from(rows).saturating_sub(1);
    terminal.move_cursor_up(before.min(room))?;
    terminal.clear_to_end_of_screen()?;
    let shown = lines.iter().take(room);
    // A line that is broken would take two rows.
    shown
        .clone()
        .map(|line| escape::line(line))
        .try_for_each(|line| terminal.write_line(&truncate_str(&line, usize::from(columns), "")))?;
    terminal.flush()?;
    Ok(shown.len())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_over_those_before() {
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = directory.path().join("screen");
        let file = std::fs::File::create_new(&path).expect("a file is made");
        let terminal = Term::read_write_pair(file.try_clone().expect("it has a handle"), file);
        let lines = ["steps", "commits"].map(str::to_string);
        let long = [format!("\u{1b}[2J\n{}", "x".repeat(500))];
        let mut drawn = draw(&terminal, &lines, 0).expect("it is written");
        assert_eq!(drawn, 2);
        drawn = draw(&terminal, &long, drawn).expect("it is written");
        let many = vec!["y".to_string(); 100];
        assert_eq!(draw(&terminal, &many, drawn).expect("it is written"), 23, "as many as fit");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let (first, second) = text.split_once("\x1b[2A").expect("it goes up two lines");
        assert!(first.contains("steps\ncommits\n") && second.contains("\x1b[1A"), "{text:?}");
        let escaped = "\\u{1b}[2J\\n";
        assert!(text.contains(escaped), "what a terminal obeys is written out: {text:?}");
        let cut = 80 - escaped.chars().count();
        assert_eq!(text.matches('x').count(), cut, "it is cut to the width");
    }
}
