//! Assembles WebAssembly text into the module that is committed: `assemble FROM.wat TO.wasm`.
//!
//! It does not know the ABI of objects.
//!
//! Invariant: the module has no names in it but those of its imports, exports and sections.

use std::path::Path;

/// Assembles a module in binary, without its names for people.
pub(crate) fn assemble(from: &Path) -> Result<Vec<u8>, wat::Error> {
    let named = wat::parse_file(from)?;
    let (head, mut rest) = named.split_at(8);
    let mut module = head.to_vec();
    while !rest.is_empty() {
        let (bytes, start) = number(&rest[1..]);
        let (section, after) = rest.split_at(1 + start + bytes);
        let content = &section[1 + start..];
        if section[0] != 0 || !content.starts_with(b"\x04name") {
            module.extend_from_slice(section);
        }
        rest = after;
    }
    Ok(module)
}

/// The number that starts here, and in how many bytes it is written.
fn number(bytes: &[u8]) -> (usize, usize) {
    let more = bytes.iter().take_while(|byte| **byte >= 0x80).count();
    let value = (0..=more).map(|index| usize::from(bytes[index] & 0x7f) << (7 * index)).sum();
    (value, more + 1)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = &arguments[..] else { return Err("usage: assemble FROM.wat TO.wasm".into()) };
    Ok(std::fs::write(to, assemble(Path::new(from))?)?)
}
