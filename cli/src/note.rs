//! Notes: what a command that did not fail has to say about what it did not do or find.
//!
//! A question without an answer and a piece of work that was done already are no failures, and are
//! no success to pass over either: each is said on stderr, as a line for people or as JSON for
//! programs. It does not know what is said.

use std::io::Write;

use serde_json::json;

use crate::printer::Printer;

/// Says on stderr, behind what was printed so far, that something was not there or not done; `kind`
/// is for programs. There is nobody to tell when that fails.
pub(crate) fn say(printer: &mut Printer, kind: &str, message: &str) {
    drop(printer.flush());
    let line = match printer.is_json() {
        true => json!({ "note": { "kind": kind, "message": message } }).to_string(),
        false => format!("note: {message}"),
    };
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
