//! Flights: the rows of the demo's file, read and validated before any of them is played.
//!
//! This module does not know objects. No text makes it panic: an invalid row is an error that names
//! the line, the column, the expected and the found.
//!
//! Invariant: the rows' times never decrease.

use std::fmt;

use continuant::Time;

/// The columns, as the file's first line names them.
const COLUMNS: [&str; 9] = [
    "sched_utc_min",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "dep_utc_min",
    "air_min",
    "distance_mi",
];
const MINUTE_MS: u64 = 60_000;
/// Bytes of a tail number or a carrier's code.
const CODE_BYTES_MAX: usize = 64;
/// Characters of an invalid text that an error shows.
const FOUND_CHARS_MAX: usize = 40;

/// A departure, flown or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    /// The line of the file, from 1.
    pub(super) line: u64,
    /// The carrier's code.
    pub(super) carrier: &'a str,
    /// The aircraft's tail number.
    pub(super) tail: &'a str,
    /// The time of the event.
    pub(super) time: Time,
    /// The event.
    pub(super) event: Event,
}

/// The event of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The flight departed, in minutes since 1970, and landed after this many minutes and miles.
    Fly { departure: u64, minutes: u64, miles: u64 },
    /// The flight never departed.
    Cancel,
    /// The flight departed and landed elsewhere.
    Divert,
}

/// An invalid row in a file of flights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlightsError {
    line: u64,
    column: Option<&'static str>,
    expected: String,
    found: String,
}

impl fmt::Display for FlightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

/// Reads the rows of a file.
///
/// # Errors
///
/// The first thing that is not as it must be.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Row<'_>>, FlightsError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
        let byte = bytes[error.valid_up_to()];
        fail(line as u64 + 1, None, "UTF-8", &format!("byte {byte:#04x}"))
    })?;
    let mut lines = text.lines().zip(1..);
    let head = lines.next().map_or("", |(head, _)| head);
    if head != COLUMNS.join(",") {
        return Err(fail(1, None, COLUMNS.join(","), &brief(head)));
    }
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (text, line) in lines {
        let row = row(text, line)?;
        if let Some(before) = rows.last().filter(|before| before.time > row.time) {
            let column = if row.event == Event::Cancel { 0 } else { 6 };
            let (earliest, found) = (minutes(before.time), minutes(row.time));
            let expected = format!("at least {earliest}, the time of the row before");
            return Err(fail(line, Some(COLUMNS[column]), expected, &found.to_string()));
        }
        rows.push(row);
    }
    debug_assert!(rows.is_sorted_by_key(|row| row.time), "the clock is moved from row to row");
    Ok(rows)
}

/// The minutes from 1970 to a time.
fn minutes(time: Time) -> u64 {
    time.as_millis() / MINUTE_MS
}

fn row(text: &str, line: u64) -> Result<Row<'_>, FlightsError> {
    let mut cells = [""; COLUMNS.len()];
    let mut count = 0;
    for cell in text.split(',') {
        if let Some(place) = cells.get_mut(count) {
            *place = cell;
        }
        count += 1;
    }
    if count != COLUMNS.len() {
        let expected = format!("{} columns", COLUMNS.len());
        return Err(fail(line, None, expected, &count.to_string()));
    }
    let cell = |index: usize| Cell { text: cells[index], line, column: COLUMNS[index] };
    let scheduled = cell(0).number()?;
    let (carrier, tail) = (cell(1).code()?, cell(3).code()?);
    let (departure, minutes, miles) = (cell(6), cell(7), cell(8).number()?);
    let event = match (departure.optional()?, minutes.optional()?) {
        (Some(departure), Some(minutes)) => Event::Fly { departure, minutes, miles },
        (Some(_), None) => Event::Divert,
        (None, None) => Event::Cancel,
        (None, Some(_)) => return Err(minutes.fail("nothing, as it never departed")),
    };
    let time = departure.optional()?.unwrap_or(scheduled) * MINUTE_MS;
    let time = Time::from_millis(time);
    Ok(Row { line, carrier, tail, time, event })
}

/// A cell and where it stands.
#[derive(Clone, Copy)]
struct Cell<'a> {
    text: &'a str,
    line: u64,
    column: &'static str,
}

impl<'a> Cell<'a> {
    fn fail(self, expected: &str) -> FlightsError {
        fail(self.line, Some(self.column), expected, &brief(self.text))
    }

    /// A number that leaves room to count with.
    fn number(self) -> Result<u64, FlightsError> {
        let digits = !self.text.is_empty() && self.text.bytes().all(|byte| byte.is_ascii_digit());
        let number = self.text.parse::<u32>().ok().filter(|_| digits);
        number.map(u64::from).ok_or_else(|| self.fail("a whole number below 2^32"))
    }

    fn optional(self) -> Result<Option<u64>, FlightsError> {
        if self.text.is_empty() { Ok(None) } else { self.number().map(Some) }
    }

    fn code(self) -> Result<&'a str, FlightsError> {
        let fits = (1..=CODE_BYTES_MAX).contains(&self.text.len());
        let printed = self.text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits && printed { Ok(self.text) } else { Err(self.fail("1 to 64 letters and digits")) }
    }
}

fn fail(
    line: u64,
    column: Option<&'static str>,
    expected: impl Into<String>,
    found: &str,
) -> FlightsError {
    FlightsError { line, column, expected: expected.into(), found: found.to_string() }
}

/// The start of a text, in quotes.
fn brief(text: &str) -> String {
    let start: String = text.chars().take(FOUND_CHARS_MAX).collect();
    format!("{start:?}{}", if start.len() < text.len() { "..." } else { "" })
}
