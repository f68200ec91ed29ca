//! Policies with a guard: its input, the end of its answer, and replays that ask it again.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use continuant::instrument::ModuleErrorKind;
use continuant::object::capsule::{Chain, HEAD, SectionKind};
use continuant::object::commit::Commit;
use continuant::object::effects::{Admission, Effects, globals_hash};
use continuant::object::head::Outcome;
use continuant::object::image::BaseImage;
use continuant::object::input::{Input, Request};
use continuant::object::memory::Tree;
use continuant::object::refusal::Refusal;
use continuant::object::secret::Secret;
use continuant::policy::definition::Definition;
use continuant::policy::verify::Verifier;
use continuant::policy::{Policy, STACK_BYTES};
use continuant::schema::encode_value;
use continuant::schema::write;
use continuant::storage::CapsuleReader;
use continuant::{
    Code, Database, Entry, ErrorKind, Kind, Law, ObjectId, Options, Reason, Receipt, Replay, Time,
    Value, Verified, args, verify_capsule,
};

use crate::objects::{Fixture, OPEN, START, capsule, check_anywhere, counter_code, key, module};

/// Everyone may do anything, and every signer may amend.
const AMENDABLE: &str = r#"@id("open") permit(principal, action, resource);
    @id("amend") permit(principal is Key, action == Action::"amend", resource);"#;

/// `accounts: list<u64>`, four of them, `total: u64`, `note: option<u64>`; `pay(account, amount)`
/// adds to both, `leak(amount)` to the total alone, and `remind(at)` sets a wake, which leaks 1.
fn ledger() -> Vec<u8> {
    module(
        "record state { accounts: list<u64>, total: u64, note: option<u64> }
         pay: func(account: u32, amount: u64); leak: func(amount: u64); remind: func(at: u64);",
        r#"(import "continuant" "wake" (func $wake (param i64)))"#,
        r#"(data (i32.const 4096) "\00\20\00\00\04\00\00\00")
           (func $leak (export "leak") (param i64)
             (i64.store (i32.const 4104) (i64.add (i64.load (i32.const 4104)) (local.get 0))))
           (func (export "pay") (param $account i32) (param $amount i64)
             (local $at i32)
             (local.set $at
               (i32.add (i32.const 8192) (i32.shl (local.get $account) (i32.const 3))))
             (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (local.get $amount)))
             (call $leak (local.get $amount)))
           (func (export "remind") (param i64) (call $wake (local.get 0)))
           (func (export "cycle") (call $leak (i64.const 1)))"#,
    )
}

/// A guard with these functions, which reads paths by `$read0(room, room_bytes)` and so on.
fn guard(paths: &[&str], body: &str) -> Vec<u8> {
    let mut functions = String::new();
    for (index, path) in paths.iter().enumerate() {
        let (at, length) = (64 * index, path.len());
        functions += &format!(
            r#"(data (i32.const {at}) "{path}")
               (func $read{index} (param i32 i32) (result i32)
                 (call $value (i32.const {at}) (i32.const {length}) (local.get 0) (local.get 1)))"#
        );
    }
    let text = format!(
        r#"(module
            (import "continuant" "value" (func $value (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1 16) {functions} {body})"#
    );
    wat::parse_str(text).unwrap()
}

/// The accounts come to the total: else 7 is returned, and 8 when they cannot all be read.
fn balanced() -> Vec<u8> {
    guard(
        &["after.accounts", "after.total"],
        r#"(func (export "admit") (result i32)
             (local $left i32) (local $sum i64)
             (if (i32.gt_s (call $read0 (i32.const 1024) (i32.const 8192)) (i32.const 8192))
               (then (return (i32.const 8))))
             (drop (call $read1 (i32.const 512) (i32.const 8)))
             (local.set $left (i32.load (i32.const 1024)))
             (block $summed
               (loop $next
                 (br_if $summed (i32.eqz (local.get $left)))
                 (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                 (local.set $sum (i64.add (local.get $sum)
                   (i64.load offset=1028 (i32.shl (local.get $left) (i32.const 3)))))
                 (br $next)))
             (if (result i32) (i64.eq (local.get $sum) (i64.load (i32.const 512)))
               (then (i32.const 0))
               (else (i32.const 7))))"#,
    )
}

/// Returns a guard whose `admit` has this body.
pub(crate) fn says(paths: &[&str], body: &str) -> Vec<u8> {
    guard(paths, &format!(r#"(func (export "admit") (result i32) {body})"#))
}

fn code(policy: &str, guard: &[u8]) -> Code {
    Code::wasm(ledger()).unwrap().policy(policy).guard(guard)
}

fn pay(db: &Database, id: ObjectId, amount: u64) -> continuant::Result<Receipt> {
    db.call(id, "pay", args![2u32, amount]).wait()
}

fn leak(db: &Database, id: ObjectId, amount: u64) -> continuant::Result<Receipt> {
    db.call(id, "leak", args![amount]).wait()
}

/// Checks that the guard refuses, with this detail.
#[track_caller]
fn check(result: continuant::Result<Receipt>, detail: &str) {
    let error = result.unwrap_err();
    let verdict = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((verdict.reason, verdict.detail.as_str()), (Reason::Guard, detail));
    assert!(verdict.rules.is_empty());
}

/// The lineage verifies here and elsewhere, where the guard still has its word.
fn check_guarded(fixture: &Fixture, db: Database, id: ObjectId, guarded: u64) -> Verified {
    let (here, _there, _elsewhere) = check_anywhere(fixture, db, id);
    let verified = here.verify(id, Replay::Yes).unwrap();
    assert_eq!(verified.guarded, guarded);
    verified
}

#[test]
fn a_law_that_cedar_cannot_express_is_held() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code(OPEN, &balanced())).unwrap();
    pay(&db, id, 5).unwrap();
    check(leak(&db, id, 1), "code 7");
    let receipt = pay(&db, id, 7).unwrap();
    assert_eq!((receipt.header.seq, receipt.rules), (2, vec!["open".to_string()]));
    check(db.write(id, vec![("total", 13u64.into())]).wait(), "code 7");
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(12));
    // The object's own cycle is held to it as well: the wake is refused once, on record.
    db.call(id, "remind", args![START + 1000]).wait().unwrap();
    db.run_until(Time::from_millis(START + 2000)).unwrap();
    assert_eq!(db.info(id).unwrap().refusal_count, 3);
    db.write(id, vec![("accounts.0", 1u64.into()), ("total", 13u64.into())]).wait().unwrap();
    let verified = check_guarded(&fixture, db, id, 4);
    assert_eq!((verified.versions, verified.refusals), (5, 3));
    let db = fixture.open();
    check(leak(&db, id, 1), "code 7");
}

#[test]
fn every_way_that_a_guard_ends_is_a_verdict_in_words_of_ours() {
    let deep = r#"(func $deep (result i32) (i32.add (i32.const 1) (call $deep)))
                  (func (export "admit") (result i32) (call $deep))"#;
    let call = |arguments: &str| says(&["after.total"], &format!("(call $value {arguments})"));
    let ways = [
        (says(&[], "(i32.const 0)"), None),
        (says(&[], "(i32.const 1)"), Some("code 1")),
        (says(&[], "(i32.const -2147483648)"), Some("code -2147483648")),
        (says(&[], "(unreachable)"), Some("trap: unreachable code reached")),
        (says(&[], "(loop (br 0)) (i32.const 0)"), Some("trap: out of fuel")),
        (guard(&[], deep), Some("trap: stack exhausted")),
        (says(&[], "(i32.load (i32.const -4))"), Some("trap: memory access out of bounds")),
        (
            says(&[], "(i32.div_s (i32.const 1) (i32.const 0))"),
            Some("trap: integer division by zero"),
        ),
        // The value's length, as it is no permit; then pointers and paths that are none.
        (call("(i32.const 0) (i32.const 11) (i32.const 0) (i32.const 0)"), Some("code 8")),
        (
            call("(i32.const 65535) (i32.const 11) (i32.const 0) (i32.const 8)"),
            Some("trap: host call refused: a pointer beyond the end of memory"),
        ),
        (
            call("(i32.const 0) (i32.const 11) (i32.const 65535) (i32.const 8)"),
            Some("trap: host call refused: a pointer beyond the end of memory"),
        ),
        (
            call("(i32.const 0) (i32.const 11) (i32.const 8) (i32.const -8)"),
            Some("trap: host call refused: a pointer beyond the end of memory"),
        ),
        (
            call("(i32.const 0) (i32.const 1025) (i32.const 0) (i32.const 8)"),
            Some("trap: host call refused: a path that leads to no value"),
        ),
        (
            call("(i32.const 0) (i32.const 10) (i32.const 0) (i32.const 8)"),
            Some("trap: host call refused: a path that leads to no value"),
        ),
        (
            says(&["\\ff"], "(call $read0 (i32.const 0) (i32.const 0))"),
            Some("trap: host call refused: a path that leads to no value"),
        ),
        (
            says(&["host.name"], "(call $read0 (i32.const 0) (i32.const 0))"),
            Some("trap: host call refused: a path that leads to no value"),
        ),
        // A value that is not there, and a room that lies over its path.
        (says(&["after.note"], "(call $read0 (i32.const 0) (i32.const 0))"), Some("code -1")),
        (says(&["input.gone"], "(call $read0 (i32.const 0) (i32.const 0))"), Some("code -1")),
        (call("(i32.const 0) (i32.const 11) (i32.const 4) (i32.const 8)"), Some("code 8")),
    ];
    let fixture = Fixture::new();
    let db = fixture.open();
    for (guard, expected) in ways {
        let id = db.create(code(OPEN, &guard)).unwrap();
        match expected {
            Some(detail) => check(pay(&db, id, 5), detail),
            None => drop(pay(&db, id, 5).unwrap()),
        }
        let verified = db.verify(id, Replay::Yes).unwrap();
        assert_eq!(verified.versions + verified.refusals, 2);
    }
}

#[test]
fn reads_are_paid_for_by_what_they_read() {
    let fixture = Fixture::new();
    let db = fixture.open();
    // Reading all accounts for ever ends before a hundred times as much was read as a guard may.
    let spin = |path: &str| {
        let body = "(loop (drop (call $read0 (i32.const 0) (i32.const 0))) (br 0)) (i32.const 0)";
        says(&[path], body)
    };
    for path in ["after.accounts", "after", "time", "input.gone", "after.accounts.9"] {
        let id = db.create(code(OPEN, &spin(path))).unwrap();
        check(pay(&db, id, 5), "trap: out of fuel");
    }
    // A read writes as many bytes as fit and no more; they do not depend on the fuel.
    let body = r#"
        (i64.store (i32.const 1032) (i64.const -1))
        (if (i32.ne (call $read0 (i32.const 1024) (i32.const 8)) (i32.const 36))
          (then (return (i32.const 1))))
        (if (i32.ne (i32.load (i32.const 1024)) (i32.const 4)) (then (return (i32.const 2))))
        (if (i64.ne (i64.load (i32.const 1032)) (i64.const -1)) (then (return (i32.const 3))))
        (i32.const 0)"#;
    let id = db.create(code(OPEN, &says(&["before.accounts"], body))).unwrap();
    pay(&db, id, 5).unwrap();
}

#[test]
fn a_guard_keeps_nothing() {
    let fixture = Fixture::new();
    let db = fixture.open();
    // The guard refuses when anything differs from its first state, and changes all that it can: by
    // itself, in bulk and by the host.
    let body = r#"
        (global $calls (mut i32) (i32.const 0))
        (func (export "admit") (result i32)
          (if (global.get $calls) (then (return (i32.const 1))))
          (if (i32.load (i32.const 4096)) (then (return (i32.const 2))))
          (if (i32.load (i32.const 12288)) (then (return (i32.const 3))))
          (if (i32.load (i32.const 20480)) (then (return (i32.const 4))))
          (if (i32.ne (memory.size) (i32.const 1)) (then (return (i32.const 5))))
          (global.set $calls (i32.const 1))
          (i32.store (i32.const 4096) (i32.const 1))
          (memory.fill (i32.const 12280) (i32.const 1) (i32.const 100))
          (drop (call $read0 (i32.const 20480) (i32.const 8)))
          (if (i64.gt_u (i64.load (i32.const 20480)) (i64.const 20))
            (then (drop (memory.grow (i32.const 2)))))
          (if (i64.gt_u (i64.load (i32.const 20480)) (i64.const 30)) (then (unreachable)))
          (i32.const 0))"#;
    let id = db.create(code(OPEN, &guard(&["after.total"], body))).unwrap();
    let other = db.create(code(OPEN, &guard(&["after.total"], body))).unwrap();
    for _ in 0..6 {
        pay(&db, id, 5).unwrap();
        pay(&db, other, 5).unwrap();
        check(leak(&db, id, 100), "trap: unreachable code reached");
    }
    check_guarded(&fixture, db, id, 6);
}

#[test]
fn what_is_no_guard_is_told_before_it_is_posted() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let no_admit = guard(&[], "");
    let kinds = [
        (&b"text"[..], ModuleErrorKind::Invalid),
        (&ledger(), ModuleErrorKind::Section),
        (&no_admit, ModuleErrorKind::Export),
    ];
    let id = db.create(counter_code(AMENDABLE)).unwrap();
    for (wrong, kind) in kinds {
        let found = |error: continuant::Error| match error.kind() {
            ErrorKind::Guard(error) => error.kind(),
            _ => panic!("{error}"),
        };
        assert_eq!(found(db.create(code(OPEN, wrong)).unwrap_err()), kind);
        let law = Law::from(AMENDABLE).guard(wrong);
        assert_eq!(found(db.amend(id, law).signed(&key(1)).wait().unwrap_err()), kind);
        assert_eq!(found(db.rehearse(id, law, 1).unwrap_err()), kind);
    }
    for wrong in [vec![], vec![0; 65_537]] {
        let error = db.create(code(OPEN, &wrong)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    }
    assert_eq!(db.objects().count(), 1);
    assert_eq!(db.info(id).unwrap().refusal_count, 0);
    // No bytes are not taken for no guard where the policy without one is known already.
    let plain = Code::wasm(ledger()).unwrap().policy(AMENDABLE);
    let id = db.create(plain.clone()).unwrap();
    let empty = Law::from(AMENDABLE).guard(b"");
    let upgrade = continuant::Upgrade::wasm(ledger()).unwrap().policy(empty);
    for refused in [
        db.create(plain.guard(vec![])).map(drop),
        db.amend(id, empty).signed(&key(1)).wait().map(drop),
        db.upgrade(id, &upgrade).signed(&key(1)).wait().map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("a module of 1 to"), "{error}");
    }
    assert_eq!(db.objects().count(), 2);
    // Nor is a guard the code of an object.
    assert!(Code::wasm(balanced()).is_err());
}

#[test]
fn a_guard_is_amended_under_the_policy_and_the_guard_that_there_are() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(Code::wasm(ledger()).unwrap().policy(AMENDABLE)).unwrap();
    leak(&db, id, 1).unwrap();
    // A guard comes, and holds from then on; the step that brings it is not asked of it.
    let (first, law) = (balanced(), |guard| Law { text: AMENDABLE, guard: Some(guard) });
    let receipt = db.amend(id, law(&first)).signed(&key(1)).wait().unwrap();
    assert_eq!(
        (receipt.header.kind, receipt.header.policy),
        (Kind::Amend, Policy::hash_of(law(&first)))
    );
    check(pay(&db, id, 1), "code 7");
    // The guard decides on the next amendment too: these accounts do not balance, so nothing may
    // follow.
    check(db.amend(id, AMENDABLE).signed(&key(1)).wait(), "code 7");
    db.write(id, vec![("total", 0u64.into())]).wait().unwrap();
    pay(&db, id, 1).unwrap();
    // A guard that permits no amendment but one to itself, by the hash of the new policy.
    let kept = guard(
        &["action", "policy", "before.total", "after.total"],
        r#"(func (export "admit") (result i32)
             (drop (call $read0 (i32.const 1024) (i32.const 9)))
             (if (i64.ne (i64.load (i32.const 1024)) (i64.const 0x6e656d6100000005))
               (then (return (i32.const 0))))
             (drop (call $read2 (i32.const 1032) (i32.const 8)))
             (drop (call $read3 (i32.const 1040) (i32.const 8)))
             (if (i64.ne (i64.load (i32.const 1032)) (i64.load (i32.const 1040)))
               (then (return (i32.const 2))))
             (call $read1 (i32.const 1048) (i32.const 68)))"#,
    );
    db.amend(id, law(&kept)).signed(&key(1)).wait().unwrap();
    leak(&db, id, 1).unwrap();
    for next in [Law::from(AMENDABLE), law(&first), law(&kept)] {
        check(db.amend(id, next).signed(&key(1)).wait(), "code 68");
    }
    let verified = check_guarded(&fixture, db, id, 4);
    assert_eq!((verified.versions, verified.refusals), (7, 5));
    let db = fixture.open();
    let guards = (0..7).map(|seq| {
        let at = db.at(id, seq).unwrap();
        at.definition().policy.guard().map(|guard| guard.wasm().to_vec())
    });
    let [one, other] = [Some(first), Some(kept)];
    let expected = [None, None, one.clone(), one.clone(), one, other.clone(), other];
    assert_eq!(guards.collect::<Vec<_>>(), expected);
}

#[test]
fn explanations_and_rehearsals_have_the_guards_word() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code(OPEN, &balanced())).unwrap();
    pay(&db, id, 5).unwrap();
    check(leak(&db, id, 1), "code 7");
    let told = db.explain(id, 1).unwrap();
    assert_eq!((told.guard, told.verdict.unwrap().rules), (Some(Ok(())), vec!["open".to_string()]));
    let told = db.explain_refusal(id, 1).unwrap();
    assert_eq!(told.guard.unwrap(), Err(told.verdict.unwrap_err()));
    assert_eq!(told.policy.unwrap().rules.len(), 1, "the policy permits it");
    let told = db.call(id, "leak", args![1u64]).dry_run().unwrap();
    assert_eq!(told.guard.unwrap().unwrap_err().to_string(), "guard: code 7");
    assert_eq!(told.verdict.unwrap_err().reason, Reason::Guard);
    let told = db.call(id, "pay", args![0u32, 1u64]).dry_run().unwrap();
    assert_eq!((told.guard, told.verdict.is_ok()), (Some(Ok(())), true));
    assert_eq!(db.explain(id, 0).unwrap().guard, None);
    // The guard is not asked about an input that the policy refuses.
    let closed = db.create(code("", &balanced())).unwrap();
    let told = db.call(closed, "pay", args![0u32, 1u64]).dry_run().unwrap();
    assert_eq!((told.guard, told.verdict.unwrap_err().reason), (None, Reason::NotPermitted));

    let plain = db.create(Code::wasm(ledger()).unwrap().policy(AMENDABLE)).unwrap();
    pay(&db, plain, 5).unwrap();
    leak(&db, plain, 1).unwrap();
    leak(&db, plain, u64::MAX).unwrap();
    let balanced = balanced();
    let told = db.rehearse(plain, Law::from(AMENDABLE).guard(&balanced), 10).unwrap();
    let refused: Vec<_> = told.refused.iter().map(|(seq, why)| (*seq, why.to_string())).collect();
    assert_eq!((told.versions, refused), (3, vec![(2, "guard: code 7".to_string())]));
    assert!(db.rehearse(plain, AMENDABLE, 10).unwrap().refused.is_empty());
    assert_eq!(db.verify(plain, Replay::Yes).unwrap().guarded, 0);
}

#[test]
fn what_only_a_host_knows_is_not_to_be_read() {
    // The answer is a function of the record: the sum of all that a guard can read is the same when
    // it is replayed in another database, at another time, by another worker.
    let paths = [
        "action",
        "principal",
        "signers",
        "time",
        "lineage.seq",
        "lineage.age",
        "cost.fuel",
        "cost.pages",
        "effects.outputs",
        "effects.wake",
        "policy",
        "substrate.instrumentation",
        "before",
        "after",
        "input.amount",
        "input.account",
    ];
    let mut body = String::new();
    for index in 0..paths.len() {
        body += &format!(
            "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 31))
               (call $read{index} (i32.const 4096) (i32.const 1024))))
             (local.set 1 (i32.const 1024))
             (loop (local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 31))
               (i32.load8_u offset=4095 (local.get 1))))
               (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))"
        );
    }
    let body = format!("(local i32 i32) {body} (i32.or (local.get 0) (i32.const 1))");
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code(OPEN, &says(&paths, &body)).secret([5; 32])).unwrap();
    for amount in 0..20 {
        let call = db.call(id, "pay", args![1u32, amount]);
        let error = match amount % 2 {
            0 => call.wait(),
            _ => call.signed(&key(3)).wait(),
        };
        assert_eq!(error.unwrap_err().refusal().unwrap().reason, Reason::Guard);
    }
    let entries = db.history(id).refused();
    let details = entries.map(|entry| match entry.unwrap() {
        Entry::Refusal(refused) => refused.refusal.verdict.detail,
        Entry::Version(version) => panic!("{version:?}"),
    });
    // Each saw another amount.
    assert_eq!(details.collect::<BTreeSet<_>>().len(), 20);
    let verified = check_guarded(&fixture, db, id, 0);
    assert_eq!(verified.refusals, 20);
}

/// Runs `body` with stack for policies.
fn on_stack<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, body).unwrap().join().unwrap()
    })
}

/// A capsule with one more version, of `request`, that nothing which is pure has against it: what
/// would follow if the guard had permitted it.
fn forged(capsule: &[u8], request: Request) -> Vec<u8> {
    let mut sections = Vec::new();
    let mut reader = CapsuleReader::new(capsule).unwrap();
    while let Some((kind, body)) = reader.next().unwrap() {
        sections.push((kind, body.to_vec()));
    }
    sections.pop();
    on_stack(|| {
        let definition = Arc::new(Definition::decode(&sections[1].1, &sections[2].1).unwrap());
        let base = Arc::new(BaseImage::decode(&sections[3].1).unwrap());
        let genesis = Commit::decode(&sections[4].1).unwrap();
        let secret = Secret::decode(&sections[0].1).unwrap();
        let mut verifier = Verifier::genesis(definition, base, &genesis, secret).unwrap();
        for (kind, body) in &sections[5..] {
            match kind {
                SectionKind::Commit => verifier.commit(&Commit::decode(body).unwrap()).unwrap(),
                _ => verifier.refusal(&Refusal::decode(body).unwrap()).unwrap(),
            }
        }
        let body = next(&verifier, request);
        verifier.commit(&Commit::decode(&body).unwrap()).unwrap();
        sections.push((SectionKind::Commit, body));
    });
    let count = (sections.len() as u64).to_le_bytes().to_vec();
    sections.push((SectionKind::End, count));
    let (mut chain, mut bytes) = (Chain::new(), HEAD.to_vec());
    for (kind, body) in &sections {
        let (head, check) = chain.section(*kind, body);
        bytes.extend([&head[..], body, &check].concat());
    }
    bytes
}

/// The version that a write or an amendment makes, permitted by the rule `open` or `amend`.
fn next(verifier: &Verifier, request: Request) -> Vec<u8> {
    let (head, before, definition) = (verifier.head(), verifier.image(), verifier.definition());
    let mut input = Input {
        request,
        time: head.header.time.saturating_add(Duration::from_millis(1)),
        credential: None,
    };
    let (mut pages, mut amended, mut signers) = (Vec::new(), None, Vec::new());
    match &input.request {
        Request::Write { fields } => {
            pages = write::apply(&definition.schema, definition.code.state_address, before, fields)
                .unwrap()
        }
        Request::Amend { policy } => {
            let policy = Policy::decode(policy, &definition.schema).unwrap();
            amended = Some(definition.amended(policy));
            let mut credential = continuant::object::credential::Credential::new(
                9,
                input.time.saturating_add(Duration::from_millis(1000)),
            );
            credential.sign(&key(1), head.id, &input.request);
            signers.push(key(1).public());
            input.credential = Some(credential);
        }
        _ => panic!("what runs no code"),
    }
    let after = before.step(continuant::object::memory::Memory::bytes_count(before), pages.clone());
    let (after, effects) = (after.unwrap(), Effects::default());
    let rule = if amended.is_some() { "amend" } else { "open" };
    let admission = Admission { migrated: Vec::new(), signers, rules: vec![rule.to_string()] };
    let decides = amended.as_ref().unwrap_or(definition);
    let outcome = Outcome {
        effects: &effects,
        instrumentation: head.header.instrumentation,
        fuel: 0,
        memory_bytes: head.header.memory_bytes,
        memory_root: Tree::of(&after).root(),
        page_count: pages.len() as u32,
        globals: globals_hash(verifier.globals()),
        parts: decides.parts(),
        tracked: decides.policy.tracked(),
    };
    let (header, _) = head.successor(&input, &outcome, &admission);
    let commit = Commit {
        header,
        input: &input.encode(),
        effects: &effects.encode(),
        admission: &admission.encode(),
        globals: None,
        pages: pages.iter().map(|(index, page)| (*index, &**page)).collect(),
    };
    let mut bytes = Vec::new();
    commit.encode_into(&mut bytes);
    bytes
}

/// Checks that the forgery verifies without code, but neither replays nor imports.
#[track_caller]
fn check_replay(forged: &[u8], expected: &str) {
    verify_capsule(Cursor::new(forged), Replay::No).unwrap();
    let error = verify_capsule(Cursor::new(forged), Replay::Yes).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let elsewhere = Fixture::new();
    let db = elsewhere.open();
    assert!(db.import(Cursor::new(forged)).is_err());
    assert_eq!(db.objects().count(), 0);
}

#[test]
fn a_replay_finds_a_version_that_the_guard_did_not_permit() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code(AMENDABLE, &balanced())).unwrap();
    pay(&db, id, 5).unwrap();
    let capsule = capsule(&db, id);
    let write = |total: u64| {
        let definition = db.snapshot(id).unwrap().definition().clone();
        let place = definition.schema.resolve("total").unwrap();
        let value = encode_value(&Value::U64(total), place.ty()).unwrap();
        Request::Write { fields: vec![("total".to_string(), value)] }
    };
    // A forged version that the guard permits is no forgery.
    let honest = forged(&capsule, write(5));
    assert_eq!(verify_capsule(&honest[..], Replay::Yes).unwrap().guarded, 2);
    let expected = "replay of version 2: admission expected guard: code 7, found a version";
    check_replay(&forged(&capsule, write(6)), expected);
    // A guard that is none is none for the amendment that would bring it.
    let amend = |guard: &[u8]| {
        let definition = db.snapshot(id).unwrap().definition().clone();
        let law = Law::from(AMENDABLE).guard(guard);
        let policy = on_stack(|| Policy::parse(law, &definition.schema).unwrap().encode());
        Request::Amend { policy }
    };
    let honest = forged(&capsule, amend(&says(&[], "(i32.const 0)")));
    verify_capsule(&honest[..], Replay::Yes).unwrap();
    let expected = "replay of version 2: step expected policy: its guard is not a module of \
                    guards, found a version";
    check_replay(&forged(&capsule, amend(b"no module")), expected);
}

#[test]
fn a_genesis_with_a_guard_that_is_none_is_not_replayed() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code(OPEN, &balanced())).unwrap();
    let mut sections = Vec::new();
    let bytes = capsule(&db, id);
    let mut reader = CapsuleReader::new(&bytes[..]).unwrap();
    while let Some((kind, body)) = reader.next().unwrap() {
        sections.push((kind, body.to_vec()));
    }
    // The same object, but with other bytes for its guard: another policy, and so another object.
    let definition = db.snapshot(id).unwrap().definition().clone();
    let no_guard = guard(&[], "");
    let law = Law::from(OPEN).guard(&no_guard);
    let policy = on_stack(|| Policy::parse(law, &definition.schema).unwrap().encode());
    let mut genesis = Commit::decode(&sections[4].1).unwrap();
    genesis.header.policy = Policy::hash_of(law);
    let mut body = Vec::new();
    genesis.encode_into(&mut body);
    (sections[2].1, sections[4].1) = (policy, body);
    // The sections are no longer compressed, and the end counts sections.
    let (_, end) = sections.pop().unwrap();
    assert_eq!(end.len(), 8);
    sections.push((SectionKind::End, (sections.len() as u64).to_le_bytes().to_vec()));
    let (mut chain, mut forged) = (Chain::new(), HEAD.to_vec());
    for (kind, body) in &sections {
        let (head, check) = chain.section(*kind, body);
        forged.extend([&head[..], body, &check].concat());
    }
    let expected = "guard: export admit: expected func() -> (i32), found no such export";
    check_replay(&forged, expected);
}

#[test]
fn guards_of_many_objects_share_the_workers() {
    let fixture = Fixture::new();
    let options: Options = fixture.options().workers(1);
    let db = fixture.open_with(options);
    // More guards than a worker has instances for, and objects of the same code.
    let ids: Vec<ObjectId> = (0..80u64)
        .map(|limit| {
            let body = format!(
                "(drop (call $read0 (i32.const 512) (i32.const 8)))
                 (i64.gt_u (i64.load (i32.const 512)) (i64.const {limit}))"
            );
            db.create(code(OPEN, &says(&["after.total"], &body))).unwrap()
        })
        .collect();
    for amount in [40u64, 39] {
        for (limit, id) in (0u64..).zip(&ids) {
            let before = db.snapshot(*id).unwrap().get::<u64>("total").unwrap();
            match before + amount <= limit {
                true => drop(pay(&db, *id, amount).unwrap()),
                false => check(pay(&db, *id, amount), "code 1"),
            }
        }
    }
    for id in ids {
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn the_vaults_guard_counts_its_owners_and_tells_them_apart() {
    let committed = std::fs::read(guest("objects/vault-guard.wasm")).unwrap();
    let owners: Vec<String> = (1..5).map(|secret| key(secret).public().to_string()).collect();
    // The guard holds under the vault's own policy.
    let vault = std::fs::read(guest("objects/vault.wasm")).unwrap();
    let policy = std::fs::read_to_string(guest("examples/vault/policy.cedar")).unwrap();
    let fixture = Fixture::new();
    let db = fixture.open();
    let three = Value::List(owners[..3].iter().map(|it| it.as_str().into()).collect());
    let code = Code::wasm(vault).unwrap().policy(policy).guard(committed.clone());
    let id = db.create(code.args(args![three])).unwrap();
    db.call(id, "deposit", args![5u64]).wait().unwrap();
    let rotate = db.call(id, "rotate", args![owners[2].as_str(), owners[3].as_str()]);
    rotate.signed(&key(1)).signed(&key(2)).signed(&key(4)).wait().unwrap();
    assert_eq!(db.verify(id, Replay::Yes).unwrap().guarded, 2);
    // The guard also holds against code that writes anything: the pointer, the length, the count.
    let texts = owners.concat();
    let spoils = module(
        "record state { owners: list<string> } spoil: func(at: u32, value: u32);",
        "",
        &format!(
            r#"(data (i32.const 4096) "\00\11\00\00\03\00\00\00")
               (data (i32.const 4352) "\00\12\00\00\40\00\00\00\40\12\00\00\40\00\00\00")
               (data (i32.const 4368) "\80\12\00\00\40\00\00\00")
               (data (i32.const 4608) "{texts}")
               (func (export "spoil") (param i32 i32)
                 (i32.store (local.get 0) (local.get 1)))"#
        ),
    );
    let code = Code::wasm(spoils).unwrap().policy(OPEN).guard(committed);
    let id = db.create(code).unwrap();
    let spoil = |at: u32, value: u32| db.call(id, "spoil", args![at, value]).wait();
    spoil(4368, 4608 + 3 * 64).unwrap();
    check(spoil(4368, 4608), "code 2");
    check(spoil(4360, 4608), "code 2");
    check(spoil(4352, 4608 + 64), "code 2");
    check(spoil(4100, 2), "code 1");
    check(spoil(4364, 63), "code 1");
    assert_eq!(db.verify(id, Replay::Yes).unwrap().guarded, 1);
}

fn guest(path: &str) -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guest").join(path)
}
