//! Objects that the tests run, written in WebAssembly text against the documented ABI.
//!
//! It holds no test. Each object is small enough to read beside the test that uses it.

use std::io::Cursor;

use continuant::{
    Clock, Code, Database, ObjectId, Options, Replay, SigningKey, Time, verify_capsule,
};
use tempfile::TempDir;

/// 2013-01-01T00:00:00Z, in milliseconds since 1970.
pub(crate) const START: u64 = 1_356_998_400_000;

/// Everyone may do anything.
pub(crate) const OPEN: &str = r#"@id("open") permit(principal, action, resource);"#;

/// A module with this schema body, these imports and these functions; its state is at 4096.
pub(crate) fn module(schema: &str, imports: &str, body: &str) -> Vec<u8> {
    // A string of WebAssembly text is one line.
    let schema = schema.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = format!(
        r#"(module
            {imports}
            (@custom "continuant:schema" "package test:object; interface object {{ {schema} }}")
            (memory (export "memory") 1 4)
            (global (export "state") i32 (i32.const 4096))
            {body})"#
    );
    wat::parse_str(text).unwrap()
}

/// `total: u64` and `last: u64` (the time of the last change); `add(amount)`, `spin()` which never
/// ends, `fail()` which traps after writing, `deep()` which recurses without end, `grow(pages)`,
/// `ring(at)` which sets a wake and emits `rung`; the cycle adds 1 and rearms a second later until
/// the total is 100 or more.
pub(crate) fn counter() -> Vec<u8> {
    module(
        "record state { total: u64, last: u64 }
         add: func(amount: u64) -> u64; spin: func(); fail: func(); deep: func();
         grow: func(pages: u32) -> s32; ring: func(at: u64);",
        r#"(import "continuant" "now" (func $now (result i64)))
           (import "continuant" "wake" (func $wake (param i64)))
           (import "continuant" "sleep" (func $sleep))
           (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))"#,
        r#"(data (i32.const 8192) "rung")
           (func $bump (param $by i64)
             (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get $by)))
             (i64.store (i32.const 4104) (call $now)))
           (func (export "add") (param i64) (result i64)
             (call $bump (local.get 0))
             (i64.load (i32.const 4096)))
           (func (export "spin") (loop (br 0)))
           (func (export "fail") (call $bump (i64.const 7)) (unreachable))
           (func $deep (export "deep") (call $deep))
           (func (export "grow") (param i32) (result i32)
             (i64.store (i32.const 4096) (i64.const 5))
             (memory.grow (local.get 0)))
           (func (export "ring") (param i64)
             (call $wake (local.get 0))
             (call $emit (i32.const 8192) (i32.const 4) (i32.const 4096) (i32.const 8)))
           (func (export "cycle")
             (call $bump (i64.const 1))
             (if (i64.lt_u (i64.load (i32.const 4096)) (i64.const 100))
               (then (call $wake (i64.add (call $now) (i64.const 1000))))))"#,
    )
}

/// `owner: string`, set by `create(owner)` and `rename(to)`; `count: u32`, `mood: option<u8>`.
pub(crate) fn labelled() -> Vec<u8> {
    module(
        "record state { owner: string, count: u32, mood: option<u8> }
         create: func(owner: string); rename: func(to: string); count: func() -> string;",
        "",
        r#"(global $top (mut i32) (i32.const 8192))
           (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
             (global.get $top)
             (global.set $top (i32.add (global.get $top)
               (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
           (func $name (param i32 i32)
             (i32.store (i32.const 4096) (local.get 0))
             (i32.store (i32.const 4100) (local.get 1)))
           (func (export "create") (param i32 i32) (call $name (local.get 0) (local.get 1)))
           (func (export "rename") (param i32 i32)
             (call $name (local.get 0) (local.get 1))
             (i32.store (i32.const 4104) (i32.add (i32.load (i32.const 4104)) (i32.const 1))))
           (func (export "count") (result i32) (i32.const 4096))"#,
    )
}

/// The counter with a policy.
pub(crate) fn counter_code(policy: &str) -> Code {
    Code::wasm(counter()).unwrap().policy(policy)
}

/// A database of its own directory, with a clock that the test moves.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Fixture { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn options(&self) -> Options {
        Options::new().clock(Clock::manual(Time::from_millis(START))).workers(2)
    }

    pub(crate) fn open(&self) -> Database {
        self.open_with(self.options())
    }

    pub(crate) fn open_with(&self, options: Options) -> Database {
        options.open(self.directory.path().join("db")).unwrap()
    }
}

/// The key of a secret.
pub(crate) fn key(secret: u8) -> SigningKey {
    SigningKey::from_secret(&[secret; 32])
}

/// The object, exported.
pub(crate) fn capsule(db: &Database, id: ObjectId) -> Vec<u8> {
    let mut bytes = Vec::new();
    db.export(id, &mut bytes).unwrap();
    bytes
}

/// The lineage verifies here and, imported, elsewhere; both databases are reopened for it.
pub(crate) fn check_anywhere(
    fixture: &Fixture,
    db: Database,
    id: ObjectId,
) -> (Database, Database, Fixture) {
    let expected = db.verify(id, Replay::Yes).unwrap();
    let bytes = capsule(&db, id);
    db.close().unwrap();
    for replay in [Replay::No, Replay::Yes] {
        assert_eq!(verify_capsule(Cursor::new(bytes.clone()), replay).unwrap(), expected);
    }
    let elsewhere = Fixture::new();
    let other = elsewhere.open();
    assert_eq!(other.import(Cursor::new(bytes.clone())).unwrap(), id);
    other.close().unwrap();
    let (here, there) = (fixture.open(), elsewhere.open());
    for db in [&here, &there] {
        assert_eq!(db.verify(id, Replay::Yes).unwrap(), expected);
        assert_eq!(capsule(db, id), bytes);
    }
    (here, there, elsewhere)
}

/// The smallest executor: polls when woken.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(ready) => return ready,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
