//! Names that objects and outboxes can have.
//!
//! It does not know who has them.

/// Bytes of a name.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Whether an object can have this name: 1 to 256 bytes, without control characters.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
