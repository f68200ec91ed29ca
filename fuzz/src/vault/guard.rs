//! The vault's guard: a module that must permit what the laws permit, and its rule in a few lines.
//!
//! It knows no law.

use std::sync::OnceLock;

use super::State;

const TEXT: &str = r#"(module
  (import "continuant" "value" (func $value (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (data (i32.const 0) "after.count")
  (data (i32.const 32) "after.first")
  (data (i32.const 64) "after.second")
  (func (export "admit") (result i32)
    (drop (call $value (i32.const 0) (i32.const 11) (i32.const 1024) (i32.const 8)))
    (if (i64.eq (i64.rem_u (i64.load (i32.const 1024)) (i64.const 5)) (i64.const 4))
      (then (return (i32.const 3))))
    (if (i32.ne
          (call $value (i32.const 32) (i32.const 11) (i32.const 1032) (i32.const 4))
          (i32.const 4))
      (then (return (i32.const 0))))
    (if (i32.ne (i32.load (i32.const 1032)) (i32.const 2)) (then (return (i32.const 0))))
    ;; An entry of 2 may not stand alone: -1 says that there is no other.
    (i32.eq
      (call $value (i32.const 64) (i32.const 12) (i32.const 0) (i32.const 0))
      (i32.const -1))))"#;

/// The module.
pub(crate) fn wasm() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| wat::parse_str(TEXT).expect("the guard's text is a module"))
}

/// Returns whether the guard permits that a vault has this state.
pub(crate) fn permits(after: &State) -> bool {
    let alone = after.first == Some(2) && after.second.is_none();
    after.count % 5 != 4 && !alone
}
