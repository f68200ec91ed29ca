//! Modules: the facts read from them, and that a damaged module only fails.

use expect_test::{Expect, expect};
use object::ErrorKind;
use object::hash::CodeHash;
use object::limits::CODE_BYTES_MAX;
use schema::code::{SCHEMA_SECTION, STATE_EXPORT, read};

use crate::module::{WIT, module, section};
use crate::source::Source;
use crate::wrap::wrap;

#[track_caller]
fn check(wasm: &[u8], expected: Expect) {
    expected.assert_eq(&wrap(&read(wasm).unwrap_err().to_string()));
}

#[test]
fn a_module_says_what_its_object_is() {
    for state in [0, 4096, 65_536, 0x7FFF_F000, 0xFFFF_F000] {
        let wasm = module(WIT, state);
        let facts = read(&wasm).unwrap();
        assert_eq!((facts.schema_text.as_str(), facts.state_address), (WIT, state));
        assert_eq!(facts.hash, CodeHash::of(&wasm));
    }
    assert_eq!((SCHEMA_SECTION, STATE_EXPORT), ("continuant:schema", "state"));
}

#[test]
fn a_module_that_does_not_say_it_is_refused() {
    check(
        b"",
        expect!["module: at offset 0 expected a WebAssembly module, found unexpected end-of-file"],
    );
    check(
        b"\0asm\x01\0\0\0",
        expect![[r#"
        schema: expected an exported immutable i32 global `state` with a multiple of
            4096, found none"#]],
    );
    check(
        b"not a module at all",
        expect![[r#"
            module: at offset 0 expected a WebAssembly module, found magic header not
                detected: bad magic number - expected=[ 0x0, 0x61, 0x73, 0x6d, ] actual=[
                0x6e, 0x6f, 0x74, 0x20, ]"#]],
    );
    check(
        &module(WIT, 4095),
        expect![[r#"
        schema: expected an exported immutable i32 global `state` with a multiple of
            4096, found 4095"#]],
    );
    let mut twice = module(WIT, 4096);
    section(0, &[&[17][..], b"continuant:schema", b"more"].concat(), &mut twice);
    check(&twice, expect![[r#"schema: expected one section "continuant:schema", found 2"#]]);
    let mut bare = module(WIT, 4096);
    bare.truncate(bare.len() - WIT.len() - 21);
    check(&bare, expect![[r#"schema: expected one section "continuant:schema", found 0"#]]);
    let mut latin = module("package a:b; // ", 4096);
    *latin.last_mut().unwrap() = 0xE9;
    check(&latin, expect![[r#"schema: section "continuant:schema" is not UTF-8"#]]);
    let mut mutable = module(WIT, 4096);
    assert_eq!(mutable[11..15], [0x7F, 0, 0x41, 0x80]);
    mutable[12] = 1;
    check(
        &mutable,
        expect![[r#"
        schema: expected an exported immutable i32 global `state` with a multiple of
            4096, found none"#]],
    );
    check(&vec![0; CODE_BYTES_MAX + 1], expect!["code bytes: at most 4194304, found 4194305"]);
}

/// Regression: a component was read as the module that it holds.
#[test]
fn a_component_is_no_module() {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(1, &module(WIT, 4096), &mut component);
    check(&component, expect!["module: at offset 0 expected a core module, found a component"]);
}

#[test]
fn a_damaged_module_never_panics() {
    let mut source = Source::random();
    let whole = module(WIT, 4096);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..20_000 {
        let mut wasm = whole.clone();
        // Most of a module is text, and the rest is where it is read.
        let end = if round % 4 == 0 { wasm.len() } else { 70 };
        for _ in 0..1 + source.below(4) {
            let at = source.below(end.min(wasm.len()));
            match source.below(4) {
                0 => wasm.insert(at, source.bits() as u8),
                1 => wasm.truncate(at.max(8)),
                2 => wasm[at] = [0, 1, 0x7F, 0x80, 0xFF][source.below(5)],
                _ => wasm[at] ^= 1 << source.below(8),
            }
        }
        match read(&wasm) {
            Ok(facts) => {
                assert_eq!(facts.state_address % 4096, 0);
                accepted += 1;
            }
            Err(error) => {
                let kind = error.kind();
                let known = matches!(kind, ErrorKind::Decode { .. } | ErrorKind::Schema(_));
                assert!(known, "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} {accepted}");
}
