//! The file of a segment: how it is called, and where its frames start.
//!
//! It does not know what is in it.

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
