//! Names that objects and outboxes can have.
//!
//! This module does not know their owners.

/// Bytes of a name.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Returns whether an object can have this name: 1 to 256 bytes, without control characters.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
