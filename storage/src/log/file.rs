//! The file of a segment: its name, and the start of its frames.
//!
//! This module does not know its content.

const SUFFIX: &str = ".log";
/// Bytes of a segment's header.
pub(crate) const HEADER_BYTES: usize = 96;

/// The name of a segment's file, from the database's directory.
pub(crate) fn file_name(number: u32) -> String {
    format!("log/{}", base_name(number))
}

/// The name of a segment's file, in the directory of the log.
pub(crate) fn base_name(number: u32) -> String {
    format!("{number:08}{SUFFIX}")
}
