//! Layouts of types in memory, computed when a program is compiled: the component model's Canonical
//! ABI.
//!
//! This module does not know a schema's types; binding a view compares the layouts with theirs.

use schema::Layout;

/// Lays out parts one behind the other: their offsets, and the whole.
#[doc(hidden)]
pub const fn sequence<const N: usize>(parts: [Layout; N]) -> ([u32; N], Layout) {
    let (mut offsets, mut end, mut align, mut index) = ([0; N], 0u32, 1, 0);
    while index < N {
        let part = parts[index];
        offsets[index] = end.next_multiple_of(part.align);
        end = offsets[index] + part.size;
        if part.align > align {
            align = part.align;
        }
        index += 1;
    }
    (offsets, Layout { size: end.next_multiple_of(align), align })
}

/// Lays out an enum of `cases` cases.
#[doc(hidden)]
pub const fn enumeration(cases: usize) -> Layout {
    match cases {
        0..=0x100 => scalar(1),
        0x101..=0x1_0000 => scalar(2),
        _ => scalar(4),
    }
}

/// A number of `size` bytes, aligned to itself.
pub(super) const fn scalar(size: u32) -> Layout {
    Layout { size, align: size }
}

/// Lays out an option's payload, behind the byte that says whether it is present.
pub(super) const fn option(payload: Layout) -> Layout {
    let size = payload.align + payload.size;
    Layout { size: size.next_multiple_of(payload.align), align: payload.align }
}
