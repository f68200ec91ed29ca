//! Sizes, alignments and offsets of types in memory: the component model's Canonical ABI.
//!
//! It does not know what a type means, only how wide its parts are.
//!
//! Invariant: alignments are 1, 2, 4 or 8, and a size is a multiple of its alignment. Sizes stay
//! far below `u32::MAX`, because a type has at most `TYPE_PARTS_MAX` parts.

/// The size of a type in memory, in bytes, and the alignment of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes, a multiple of `align`.
    pub size: u32,
    /// 1, 2, 4 or 8.
    pub align: u32,
}

impl Layout {
    /// A scalar of `size` bytes, aligned to itself.
    pub(crate) const fn scalar(size: u32) -> Layout {
        Layout { size, align: size }
    }

    fn check_invariants(self) {
        debug_assert!(matches!(self.align, 1 | 2 | 4 | 8), "an alignment is that of a scalar");
        debug_assert!(self.size.is_multiple_of(self.align), "a size is a multiple of it");
    }

    /// A string or list: its address, then its length.
    pub(crate) const POINTER_PAIR: Layout = Layout { size: 8, align: 4 };
}

/// Returns the width of the number that distinguishes `cases` cases: 1, 2 or 4 bytes.
pub(crate) const fn discriminant_bytes(cases: usize) -> u32 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// The width of `flags` flags: 1, 2 or 4 bytes. At most 32 fit.
pub(crate) const fn flags_bytes(flags: usize) -> u32 {
    debug_assert!(flags <= 32, "flags are the bits of one number");
    match flags {
        0..=8 => 1,
        9..=16 => 2,
        _ => 4,
    }
}

/// Lays out parts one behind the other: their offsets, and the whole.
pub(crate) fn sequence(parts: impl Iterator<Item = Layout>) -> (Vec<u32>, Layout) {
    let (mut offsets, mut end, mut align) = (Vec::new(), 0u32, 1);
    for part in parts {
        part.check_invariants();
        let offset = end.next_multiple_of(part.align);
        offsets.push(offset);
        end = offset + part.size;
        align = align.max(part.align);
    }
    let whole = Layout { size: end.next_multiple_of(align), align };
    whole.check_invariants();
    (offsets, whole)
}

/// Lays out a discriminant and, behind it, the widest of some payloads: the payload's offset, and
/// the whole.
pub(crate) fn tagged(tag_bytes: u32, payloads: impl Iterator<Item = Layout>) -> (u32, Layout) {
    let none = Layout { size: 0, align: 1 };
    let payload = payloads.fold(none, |widest, payload| {
        payload.check_invariants();
        Layout { size: widest.size.max(payload.size), align: widest.align.max(payload.align) }
    });
    let align = payload.align.max(tag_bytes);
    let offset = tag_bytes.next_multiple_of(payload.align);
    let whole = Layout { size: (offset + payload.size).next_multiple_of(align), align };
    whole.check_invariants();
    debug_assert!(offset >= tag_bytes, "a payload is behind its discriminant");
    debug_assert!(offset + payload.size <= whole.size, "a payload is within the whole");
    (offset, whole)
}
