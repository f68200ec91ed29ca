//! An object that the tests run, and a guard for it, in WebAssembly text against the documented
//! ABI.
//!
//! It holds no test.

/// A key that nobody has.
pub(crate) const NOBODY: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// Anyone may do anything, but count by more than a thousand; `close` is for one key.
pub(crate) fn policy(owner: &str) -> String {
    format!(
        r#"@id("open") permit(principal, action, resource);
@id("limit") forbid(principal, action == Action::"increment", resource)
when {{ context.input.by > 1000 }};
@id("owner") forbid(principal, action == Action::"rename", resource)
unless {{ context.signers.contains("{owner}") }};
"#
    )
}

/// `count: u64`, `label: string`, `mood: option<u8>`. `increment(by)` counts; `rename(to)` and
/// `create(label)` set the label; `ring()` sets a wake for the next moment and emits `rung`; the
/// cycle counts by one.
pub(crate) fn module() -> Vec<u8> {
    let text = r#"(module
        (import "continuant" "now" (func $now (result i64)))
        (import "continuant" "wake" (func $wake (param i64)))
        (import "continuant" "sleep" (func $sleep))
        (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))
        (@custom "continuant:schema"
            "package test:object@1.0.0; interface object {\n"
            "    record state { count: u64, label: string, mood: option<u8> }\n"
            "    create: func(label: string);\n"
            "    increment: func(by: u64) -> u64;\n"
            "    rename: func(to: string);\n"
            "    ring: func();\n"
            "}\n")
        (memory (export "memory") 1 1)
        (global (export "state") i32 (i32.const 4096))
        (global $top (mut i32) (i32.const 8192))
        (data (i32.const 12288) "rung")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top)
            (global.set $top (i32.add (global.get $top) (local.get 3))))
        (func $label (param i32 i32)
            (i32.store (i32.const 4104) (local.get 0))
            (i32.store (i32.const 4108) (local.get 1)))
        (func $count (param i64) (result i64)
            (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get 0)))
            (i64.load (i32.const 4096)))
        (func (export "create") (param i32 i32) (call $label (local.get 0) (local.get 1)))
        (func (export "rename") (param i32 i32) (call $label (local.get 0) (local.get 1)))
        (func (export "increment") (param i64) (result i64) (call $count (local.get 0)))
        (func (export "ring")
            (call $wake (i64.add (call $now) (i64.const 1)))
            (call $emit (i32.const 12288) (i32.const 4) (i32.const 12288) (i32.const 4)))
        (func (export "cycle") (drop (call $count (i64.const 1))) (call $sleep)))"#;
    wat::parse_str(text).unwrap()
}

/// Returns the object's upgrade: `count: s64` and `label: string`, which it takes over; a mood
/// above 9 is more than it can take. `increment(by)` and `rename(to)` are as before.
pub(crate) fn second() -> Vec<u8> {
    let text = r#"(module
        (@custom "continuant:schema"
            "package test:object@2.0.0; interface object {\n"
            "    record before { count: u64, label: string, mood: option<u8> }\n"
            "    record state { label: string, count: s64 }\n"
            "    increment: func(by: u64) -> s64;\n"
            "    rename: func(to: string);\n"
            "    migrate: func(before: before);\n"
            "}\n")
        (memory (export "memory") 1 1)
        (global (export "state") i32 (i32.const 4096))
        (global $top (mut i32) (i32.const 8192))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top)
            (global.set $top (i32.add (global.get $top)
                (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
        (func $label (param i32 i32)
            (i32.store (i32.const 4096) (local.get 0))
            (i32.store (i32.const 4100) (local.get 1)))
        (func (export "rename") (param i32 i32) (call $label (local.get 0) (local.get 1)))
        (func $count (export "increment") (param i64) (result i64)
            (i64.store (i32.const 4104) (i64.add (i64.load (i32.const 4104)) (local.get 0)))
            (i64.load (i32.const 4104)))
        (func (export "migrate") (param $before i32)
            (if (i32.gt_u (i32.load8_u offset=17 (local.get $before)) (i32.const 9))
                (then (unreachable)))
            (drop (call $count (i64.load (local.get $before))))
            (call $label (i32.load offset=8 (local.get $before))
                (i32.load offset=12 (local.get $before)))))"#;
    wat::parse_str(text).unwrap()
}

/// An object that cannot be made.
pub(crate) fn trapping() -> Vec<u8> {
    let text = r#"(module
        (@custom "continuant:schema"
            "package test:object@1.0.0; interface object {\n"
            "    record state { count: u64 }\n"
            "    create: func();\n"
            "    increment: func(by: u64);\n"
            "}\n")
        (memory (export "memory") 1 1)
        (global (export "state") i32 (i32.const 4096))
        (func (export "create") (unreachable))
        (func (export "increment") (param i64)))"#;
    wat::parse_str(text).unwrap()
}

/// A guard that wants the number at a path to be even, and refuses by code 5.
pub(crate) fn guard(path: &str) -> Vec<u8> {
    let (bytes, room) = (path.len(), 1024);
    let text = format!(
        r#"(module
        (import "continuant" "value" (func $value (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1 1)
        (data (i32.const 0) "{path}")
        (func (export "admit") (result i32)
            (drop (call $value (i32.const 0) (i32.const {bytes}) (i32.const {room}) (i32.const 8)))
            (i32.mul (i32.const 5) (i32.and (i32.load (i32.const {room})) (i32.const 1)))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Text with characters that a terminal obeys and that make rows, with a mark that a row must not
/// begin with.
pub(crate) const HOSTILE: &str = "x\u{1b}[31m\nFORGED\u{9b}2J\u{7f}\u{202e}\u{2028}\u{200b}";

/// Returns a policy under which anyone may do anything, with such text in its rules.
pub(crate) fn hostile_policy() -> String {
    format!(
        r#"@id("open") @confusable("a terminal is to be tried") permit(principal, action, resource)
when {{ true // {}
}};
@id("limit") @confusable("as above") forbid(principal, action == Action::"say", resource)
when {{ // {0}
    context.input.what == "no" }};
@id("amend") permit(principal, action == Action::"amend", resource);
@id("upgrade") permit(principal, action == Action::"upgrade", resource);
@id("migrate") permit(principal, action == Action::"migrate", resource);
@id("session") permit(principal, action == Action::"open_session", resource);
@id("read") permit(principal, action == Action::"read", resource);
"#,
        HOSTILE.replace('\n', " ")
    )
}

/// `label: string`, `count: u64`. `say(what)` sets the label, emits an output of that name and
/// with that payload, sends a message of that name to an object that there is not, and sets a wake
/// for the next moment; the cycle counts.
pub(crate) fn hostile() -> Vec<u8> {
    let text = r#"(module
        (import "continuant" "now" (func $now (result i64)))
        (import "continuant" "wake" (func $wake (param i64)))
        (import "continuant" "sleep" (func $sleep))
        (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))
        (import "continuant" "send" (func $send (param i32 i32 i32 i32 i32)))
        (@custom "continuant:schema"
            "package test:hostile@1.0.0; interface object {\n"
            "    record state { label: string, count: u64 }\n"
            "    record before { label: string, count: u64 }\n"
            "    create: func(label: string);\n"
            "    say: func(what: string) -> string;\n"
            "    migrate: func(before: before);\n"
            "}\n")
        (memory (export "memory") 1 1)
        (global (export "state") i32 (i32.const 4096))
        (global $top (mut i32) (i32.const 16384))
        (data (i32.const 12288) "\11\11\11\11\11\11\11\11\11\11\11\11\11\11\11\11")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top)
            (global.set $top (i32.add (global.get $top)
                (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
        (func $label (param i32 i32)
            (i32.store (i32.const 4096) (local.get 0))
            (i32.store (i32.const 4100) (local.get 1)))
        (func (export "create") (param i32 i32) (call $label (local.get 0) (local.get 1)))
        (func (export "migrate") (param i32)
            (call $label (i32.load (local.get 0)) (i32.load offset=4 (local.get 0))))
        (func (export "say") (param i32 i32) (result i32)
            (call $label (local.get 0) (local.get 1))
            (call $emit (local.get 0) (local.get 1) (local.get 0) (local.get 1))
            (call $send (i32.const 12288) (local.get 0) (local.get 1) (i32.const 0) (i32.const 0))
            (call $wake (i64.add (call $now) (i64.const 1)))
            (i32.const 4096))
        (func (export "cycle")
            (i64.store (i32.const 4104) (i64.add (i64.load (i32.const 4104)) (i64.const 1)))
            (call $sleep)))"#;
    wat::parse_str(text).unwrap()
}
