//! Fuzzing of objects: its findings, their shrinking, and the same outcome in a database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use continuant::fuzz::{Broken, Fuzz, Report, START, What};
use continuant::{Clock, Code, ErrorKind, Options, Snapshot, Value, args};
use expect_test::{Expect, expect};

use crate::guests::code;
use crate::objects::{OPEN, key, module};

/// An object that may be fired once it is armed with the one code that its policy has a number of.
fn cannon() -> Code {
    let wasm = module(
        "record state { balance: u64, code: u64 }
         deposit: func(amount: u64); arm: func(code: u64); fire: func();",
        "",
        r#"(func (export "deposit") (param i64)
             (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get 0))))
           (func (export "arm") (param i64) (i64.store (i32.const 4104) (local.get 0)))
           (func (export "fire")
             (if (i32.and (i64.eq (i64.load (i32.const 4104)) (i64.const 123456))
                          (i64.gt_u (i64.load (i32.const 4096)) (i64.const 6)))
               (then (i64.store (i32.const 4096)
                 (i64.sub (i64.load (i32.const 4096)) (i64.const 1))))))"#,
    );
    let policy = format!(
        r#"{OPEN} @id("few") forbid(principal, action == Action::"deposit", resource)
           when {{ context.input.amount > 1000 }};
           @id("codes") forbid(principal, action == Action::"arm", resource)
           when {{ context.input.code > 123456 }};
           @id("sealed") forbid(principal, action == Action::"write", resource);"#
    );
    Code::wasm(wasm).unwrap().policy(policy)
}

/// The invariant is that the balance never falls; the bug is that a shot takes 1.
fn kept() -> Fuzz {
    let kept = "context.after.balance >= context.before.balance";
    Fuzz::new(cannon()).steps(200_000).invariant("kept", kept)
}

fn counter() -> Fuzz {
    Fuzz::new(code("counter", "counter")).steps(3000)
}

fn count(version: &Snapshot) -> u64 {
    version.get::<u64>("count").unwrap()
}

/// The vault of three owners, whose keys sign.
fn vault() -> Fuzz {
    let owners = [11, 12, 13].map(key);
    let names = owners.iter().map(|key| key.public().to_string().into()).collect();
    let fuzz = Fuzz::new(code("vault", "vault").args(vec![Value::List(names)])).steps(200_000);
    owners.into_iter().fold(fuzz, Fuzz::key)
}

fn run(fuzz: Fuzz) -> Report {
    fuzz.run(|_| {}).unwrap()
}

fn broken(fuzz: Fuzz) -> Broken {
    run(fuzz).broken.expect("an invariant is broken")
}

/// Returns the broken invariant and its events, one a line.
fn told(broken: &Broken) -> String {
    let mut lines = format!("{}: {}\n", broken.invariant, broken.detail);
    for played in &broken.events {
        let what = match &played.event.what {
            What::Call { method, arguments } => {
                let arguments = arguments.iter().map(|value| format!(" {}", value.to_json()));
                format!("{method}{}", arguments.collect::<String>())
            }
            other => format!("{other:?}"),
        };
        let steps = played.steps.iter().map(|step| match &step.verdict {
            Ok(_) => format!("{} made {}", step.action, step.seq),
            Err(verdict) => format!("{} refused: {verdict}", step.action),
        });
        let steps = steps.collect::<Vec<_>>().join(", ");
        lines += &format!("{what} by {:?}: {steps}\n", played.event.signers);
    }
    lines
}

#[test]
fn a_planted_bug_is_found_and_shrunk_to_the_least_that_shows_it() {
    for seed in 0..4 {
        let broken = broken(kept().seed(seed));
        assert_eq!(broken.events.len(), 3, "seed {seed}: {}", told(&broken));
        let mut calls = told(&broken);
        calls.truncate(calls.rfind("fire").unwrap());
        for call in ["arm 123456 by []", "deposit 7 by []"] {
            assert!(calls.contains(call), "seed {seed}: {}", told(&broken));
        }
        let rule = broken.rule.expect("a rule states it");
        let read: Vec<_> = rule.reads.iter().map(|read| (&read.path[..], &read.value)).collect();
        let (after, before) = (Ok(Some(6i64.into())), Ok(Some(7i64.into())));
        assert_eq!(read, [("after.balance", &after), ("before.balance", &before)]);
    }
}

#[test]
fn what_holds_is_not_broken_and_the_run_says_what_it_looked_at() {
    let fuzz = counter().invariant("up", "context.after.count >= context.before.count");
    let report = run(fuzz.holds("also-up", |before, after| count(before) <= count(after)));
    assert_eq!(report.broken, None);
    assert!((2000..=3000).contains(&report.steps), "time that goes by is no step: {report:?}");
    assert!(report.replays > 0, "some lineages are replayed");
    let increments = report.actions["increment"];
    assert!(increments.admitted > 500 && increments.tried > increments.admitted, "{report:?}");
    assert!(report.rules["count"].permits && report.rules["count"].count == increments.admitted);
    assert!(!report.rules["arithmetic"].permits && report.rules["arithmetic"].count == 0);
    assert!(report.actions["write"].tried > 0 && report.actions["write"].admitted == 0);
    let refused: u64 = report.refusals.values().sum();
    assert_eq!(report.versions() + refused, report.steps);
}

#[test]
fn a_run_stops_when_it_is_told_to() {
    let asked = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&asked);
    let fuzz =
        counter().steps(u64::MAX).stop_when(move || told.fetch_add(1, Ordering::Relaxed) == 3);
    let report = run(fuzz);
    assert_eq!((asked.load(Ordering::Relaxed), report.sequences), (4, 3));
    assert_eq!(report.broken, None);
}

#[test]
fn a_seed_finds_what_it_found() {
    let report = |seed| {
        let report = run(kept().seed(seed));
        (told(report.broken.as_ref().unwrap()), format!("{report:?}"))
    };
    let (first, all) = report(3);
    assert_eq!(report(3), (first, all.clone()));
    assert_ne!(report(4).1, all);
    let mut steps = Vec::new();
    let quiet = counter().seed(9).run(|so_far| steps.push(so_far)).unwrap();
    assert_eq!(steps.last(), Some(&quiet.steps));
    assert!(steps.is_sorted() && steps.len() as u64 == quiet.sequences);
}

#[test]
fn what_is_played_is_what_a_database_does() {
    let delegate = "context.after.delegate == \"\" || context.before.delegate != \"\"";
    let lapse = "context.before.delegate == \"\" || context.after.delegate != \"\"";
    let spent = "context.before.balance < 5 || context.after.balance >= 5";
    for (name, holds) in [("delegate", delegate), ("lapse", lapse), ("spent", spent)] {
        let broken = broken(vault().seed(1).invariant(name, holds));
        let directory = tempfile::tempdir().unwrap();
        let options = Options::new().clock(Clock::manual(START)).workers(1).cycles(false);
        let db = options.open(directory.path().join("db")).unwrap();
        let code = code("vault", "vault").args(broken.arguments.clone()).secret([0; 32]);
        let (id, mut nonce) = (db.create(code).unwrap(), 0);
        let keys = [11, 12, 13, 1].map(key);
        for played in &broken.events {
            let call = match &played.event.what {
                What::Call { method, arguments } => db.call(id, method, arguments.clone()),
                What::Wait(span) => {
                    db.run_until(db.now().saturating_add(*span)).unwrap();
                    continue;
                }
                other => panic!("{other:?} is in no minimal sequence: {}", told(&broken)),
            };
            let signers = played.event.signers.iter().map(|&signer| &keys[signer]);
            let is_signed = !played.event.signers.is_empty();
            nonce += u64::from(is_signed);
            let call = signers.fold(call, |call, key| call.signed(key));
            let call = if is_signed { call.nonce(nonce) } else { call };
            call.wait().unwrap();
        }
        let head = db.snapshot(id).unwrap().hash();
        assert_eq!(Some(head), broken.version, "{}", told(&broken));
    }
}

#[test]
fn invariants_are_told_apart_by_what_they_say() {
    let check = |fuzz: Fuzz, expected: Expect| expected.assert_eq(&told(&broken(fuzz)));
    let past = "context.lineage.past.increment.count < 2";
    check(
        counter().invariant("twice", past),
        expect![[r#"
        twice: it does not hold
        increment 0 by []: increment made 1
        increment 0 by []: increment made 2
        increment 0 by []: increment made 3
    "#]],
    );
    // The reason that it cannot be evaluated is in the policy library's words.
    let adds =
        broken(counter().invariant("adds", "context.before.count + 9223372036854775807 > 0"));
    assert!(adds.is_unevaluable && adds.detail.contains("cannot be evaluated: rule adds"));
    assert_eq!(adds.events.len(), 2, "{}", told(&adds));
    let rules = r#"@id("odd") forbid(principal, action == Action::"increment", resource)
        when { context.input.by == 77 };
        @id("never") forbid(principal, action == Action::"write", resource);"#;
    check(
        counter().invariants(rules),
        expect![[r#"
        odd: it does not hold
        increment 77 by []: increment made 1
    "#]],
    );
    let few = |_: &Snapshot, after: &Snapshot| count(after) < 100;
    check(
        counter().holds("few", few),
        expect![[r#"
        few: it does not hold
        increment 100 by []: increment made 1
    "#]],
    );
    let checked = |_: &Snapshot, after: &Snapshot| {
        assert!(count(after) < 100, "it is too much");
        true
    };
    check(
        counter().holds("checked", checked),
        expect![[r#"
        no-panic: it is too much
        increment 100 by []: increment made 1
    "#]],
    );
}

#[test]
fn cycles_and_writes_are_among_what_happens() {
    let policy = r#"@id("all") permit(principal, action, resource);"#;
    let lamp = || Fuzz::new(code("lamp", "wat").policy(policy)).steps(20_000);
    let report = run(lamp());
    assert_eq!(report.broken, None);
    for action in ["advance", "write"] {
        assert!(report.actions[action].admitted > 0, "{action}: {report:?}");
    }
}

#[test]
fn arguments_of_a_creation_are_drawn_when_none_are_given() {
    let report = run(Fuzz::new(code("vault", "vault")).steps(2000));
    assert!(report.refused_creations > 0, "a vault takes three owners: {report:?}");
    assert_eq!(report.broken, None);
    let deposited = "context.after.balance < 4";
    let broken = broken(Fuzz::new(code("vault", "vault")).invariant("poor", deposited));
    assert_eq!(told(&broken), "poor: it does not hold\ndeposit 4 by []: deposit made 1\n");
    let Value::List(owners) = &broken.arguments[0] else { panic!("{broken:?}") };
    assert_eq!(owners.len(), 3);
}

#[test]
fn what_cannot_be_fuzzed_is_told() {
    let error = |fuzz: Fuzz| fuzz.run(|_| {}).unwrap_err();
    let check = |fuzz: Fuzz, expected: &str| {
        let error = error(fuzz).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(counter().invariant("typo", "context.after.cuont == 0"), "`after.cuont`");
    check(counter().invariant("always", "true"), "the rule always can never hold");
    let ada = "context.signers.contains(\"ada\")";
    check(counter().invariant("ada", ada), "4:30: \"ada\" is no key");
    check(counter().invariant("Bad Name", "true"), "an id that is not 1 to 64 of");
    let two = "context.time > 0 }; @id(\"all\") permit(principal, action, resource) when { true";
    check(counter().invariant("two", two), "the rule all permits: an invariant is a forbid");
    let permit = "@id(\"p\") permit(principal, action, resource);";
    check(counter().invariants(permit), "the rule p permits: an invariant is a forbid");
    let twice = counter().invariant("one", "context.time > 0").holds("one", |_, _| true);
    check(twice, "two invariants with the name \"one\"");
    let two = vec![Value::List(args!["a", "b"])];
    let refused = error(Fuzz::new(code("vault", "vault").args(two)));
    assert!(matches!(refused.kind(), ErrorKind::Refused { recorded: false, .. }), "{refused}");
}
