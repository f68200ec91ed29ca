//! A module that has a schema and a state, and does nothing.

use object::limits::PAGE_BYTES;

/// A schema with a field of every type of a fixed size, and others.
pub(crate) const WIT: &str = "
    package airport:gates;
    interface gate {
        enum light { red, green }
        flags needs { fuel, ice, crew }
        variant event { delay(u32), cancel, hold(u64) }
        record spot { row: u16, column: char }
        record state {
            count: u64, locked: bool, byte: u8, short: u16, word: u32, heat: f32, height: f64,
            tiny: s8, low: s16, deep: s32, far: s64, mark: char, light: light, needs: needs,
            spot: spot, at: tuple<s16, bool>, next: option<u32>, event: event, done: result<u8>,
            name: string, log: list<u8>,
        }
        add: func(more: u64);
    }";

/// The address of the state of `module`.
pub(crate) const STATE: u32 = PAGE_BYTES as u32;

/// A module that says where its state is and what its schema is, and does nothing.
pub(crate) fn module(wit: &str, state: u32) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    let mut global = vec![1, 0x7F, 0, 0x41];
    signed(i64::from(state.cast_signed()), &mut global);
    global.push(0x0B);
    section(6, &global, &mut wasm);
    section(7, &[&[1, 5][..], b"state", &[3, 0]].concat(), &mut wasm);
    section(0, &[&[17][..], b"continuant:schema", wit.as_bytes()].concat(), &mut wasm);
    wasm
}

/// Appends a section to a module.
pub(crate) fn section(id: u8, body: &[u8], wasm: &mut Vec<u8>) {
    wasm.push(id);
    let mut rest = body.len();
    while rest >= 0x80 {
        wasm.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    wasm.push(rest as u8);
    wasm.extend_from_slice(body);
}

fn signed(mut value: i64, bytes: &mut Vec<u8>) {
    loop {
        let byte = value as u8 & 0x7F;
        value >>= 7;
        let last = (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0);
        bytes.push(if last { byte } else { byte | 0x80 });
        if last {
            return;
        }
    }
}
