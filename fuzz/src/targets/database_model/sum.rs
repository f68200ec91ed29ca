//! The module of a sum, which takes over the value of another such module, multiplied.
//!
//! It knows no database.

const SCHEMA: &str = "package fuzz:sum; interface object { \
    record before { sum: u64 } \
    record state { sum: u64 } \
    increment: func(by: u64) -> u64; \
    migrate: func(before: before); }";

/// The module of a sum that is multiplied by `factor` when it is taken over; `tag` makes it another
/// module than one of the same factor.
pub(super) fn module(factor: u64, tag: i32) -> Vec<u8> {
    let text = format!(
        r#"(module
            (@custom "continuant:schema" "{SCHEMA}")
            (memory (export "memory") 1 4)
            (global (export "state") i32 (i32.const 4096))
            (global i32 (i32.const {tag}))
            (data (i32.const 4096) "\01")
            (func (export "increment") (param i64) (result i64)
                (i64.store (i32.const 4096)
                    (i64.add (local.get 0) (i64.load (i32.const 4096))))
                (i64.load (i32.const 4096)))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (i32.const 8192))
            (func (export "migrate") (param i32)
                (i64.store (i32.const 4096)
                    (i64.mul (i64.const {factor}) (i64.load (local.get 0))))))"#
    );
    wat::parse_str(text).expect("the sum's text is a module")
}
