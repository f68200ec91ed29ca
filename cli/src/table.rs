//! Tables: columns as wide as their content, a head, nothing else.
//!
//! Rows are printed one by one: the widths are those of the head and the first rows, and a wider
//! later row pushes its line out, so that a list of millions starts at once and takes no memory.
//! This module does not know the cells.
//!
//! Invariant: a row is one line, with nothing hidden in it, whatever its cells contain.

use console::measure_text_width;

use crate::escape;
use crate::failure::Result;
use crate::printer::{Printer, padded};

/// Rows that are kept until the widths are settled.
const ROWS_KEPT: usize = 256;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table that is being printed.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    align: [Align; N],
    widths: [usize; N],
    kept: Vec<[String; N]>,
    settled: bool,
}

impl<const N: usize> Table<N> {
    /// A table with these columns. A head of empty words is not printed.
    pub(crate) fn new(columns: [(&str, Align); N]) -> Table<N> {
        let head = columns.map(|(word, _)| word.to_string());
        let kept = if head.iter().any(|word| !word.is_empty()) { vec![head] } else { Vec::new() };
        Table { align: columns.map(|(_, align)| align), widths: [0; N], kept, settled: false }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, printer: &mut Printer, cells: [String; N]) -> Result<()> {
        let cells = cells.map(|cell| escape::line(&cell).into_owned());
        if self.settled {
            return self.print(printer, &cells);
        }
        self.kept.push(cells);
        if self.kept.len() >= ROWS_KEPT { self.settle(printer) } else { Ok(()) }
    }

    /// Prints the rows that were kept back.
    pub(crate) fn end(mut self, printer: &mut Printer) -> Result<()> {
        self.settle(printer)
    }

    fn settle(&mut self, printer: &mut Printer) -> Result<()> {
        self.settled = true;
        for cells in &self.kept {
            for (width, cell) in self.widths.iter_mut().zip(cells) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        for cells in std::mem::take(&mut self.kept) {
            self.print(printer, &cells)?;
        }
        Ok(())
    }

    fn print(&self, printer: &mut Printer, cells: &[String; N]) -> Result<()> {
        assert!(self.settled, "the widths are known before a row is printed");
        let mut line = String::new();
        for (index, cell) in cells.iter().enumerate() {
            let gap = if index == 0 { "" } else { "  " };
            let width = self.widths[index];
            let room = width.saturating_sub(measure_text_width(cell));
            line += &match self.align[index] {
                Align::Left => format!("{gap}{}", padded(cell, width)),
                Align::Right => format!("{gap}{}{cell}", " ".repeat(room)),
            };
        }
        printer.line(line.trim_end())
    }
}

/// A number with its thousands apart: `26,849`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    debug_assert_eq!(text.replace(',', ""), digits, "nothing but commas is added");
    text
}
