//! Explanations of admissions and refusals, past and hypothetical: each agrees with the fact.

use continuant::policy::Rule;
use continuant::storage::{self, Retention};
use continuant::{
    Database, Entry, ErrorKind, Explanation, ObjectId, Options, Reason, SigningKey, Time, Value,
    args,
};
use expect_test::{Expect, expect};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::objects::{Fixture, OPEN, START, counter_code, labelled};

/// Anyone may add little, the key of secret 1 more, and nobody much; all else but `deep` is open.
fn policy() -> String {
    let key = key().public();
    format!(
        r#"@id("little") permit(principal, action == Action::"add", resource)
when {{ context.input.amount <= 10 && context.effects.outputs.isEmpty() }};
@id("owner") permit(principal == Key::"{key}", action == Action::"add", resource)
when {{ context.signers.contains("{key}") }};
@id("rest") permit(principal, action, resource)
unless {{ [Action::"add", Action::"deep"].contains(action) }};
// A total is not for ever.
@id("most") forbid(principal, action in [Action::"add", Action::"write"], resource)
when {{ context.after.total > 100 }} unless {{ context.effects has wake }};"#
    )
}

fn key() -> SigningKey {
    SigningKey::from_secret(&[1; 32])
}

/// An explanation in a few lines, its key in a word.
fn print(told: &Explanation) -> String {
    let verdict = match &told.verdict {
        Ok(admission) => format!("permitted by [{}]", admission.rules.join(" ")),
        Err(verdict) => format!("refused: {verdict}"),
    };
    let mut text = format!("{}: {} {verdict}\n", told.seq, told.input.request.action());
    if let Some(done) = &told.done {
        let result = done.result.as_ref().map(Value::to_json);
        let outputs: Vec<_> = done.outputs.iter().map(|output| &output.name).collect();
        let wake = done.wake.map(|wake| wake.as_millis().saturating_sub(START));
        text += &format!("result {result:?} outputs {outputs:?} wake {wake:?}\n");
    }
    let Some(policy) = &told.policy else { return text + "the policy was not asked\n" };
    text += &format!("{}\n", policy.principal);
    policy.rules.iter().for_each(|rule| text += &print_rule(rule));
    text.replace(&key().public().to_string(), "KEY").replace(&told.object.to_string(), "ID")
}

fn print_rule(rule: &Rule) -> String {
    let mut text = format!("{}: {}\n", rule.id, if rule.permits { "permit" } else { "forbid" });
    for read in &rule.reads {
        let value = match &read.value {
            Ok(Some(value)) => value.to_json().to_string(),
            Ok(None) => "none".to_string(),
            Err(refusal) => format!("({refusal})"),
        };
        text += &format!("  {} = {value}\n", read.path);
    }
    text
}

#[track_caller]
fn check(told: continuant::Result<Explanation>, expected: Expect) {
    expected.assert_eq(&print(&told.unwrap()));
}

#[test]
fn versions_are_explained_by_what_permitted_them() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    db.call(id, "add", args![7u64]).wait().unwrap();
    db.call(id, "add", args![70u64]).signed(&key()).nonce(1).wait().unwrap();
    db.call(id, "ring", args![START + 9]).wait().unwrap();
    db.write(id, vec![("total", Value::U64(200))]).wait().unwrap();
    db.run_until(Time::from_millis(START + 9)).unwrap();
    check(
        db.explain(id, 0),
        expect![[r#"
        0: create permitted by []
        result None outputs [] wake None
        the policy was not asked
    "#]],
    );
    check(
        db.explain(id, 1),
        expect![[r#"
        1: add permitted by [little]
        result Some(Number(7)) outputs [] wake None
        Anonymous::""
        little: permit
          effects.outputs = []
          input.amount = 7
    "#]],
    );
    check(
        db.explain(id, 2),
        expect![[r#"
        2: add permitted by [owner]
        result Some(Number(77)) outputs [] wake None
        Key::"KEY"
        owner: permit
          signers = ["KEY"]
    "#]],
    );
    check(
        db.explain(id, 3),
        expect![[r#"
        3: ring permitted by [rest]
        result None outputs ["rung"] wake Some(9)
        Anonymous::""
        rest: permit
    "#]],
    );
    check(
        db.explain(id, 4),
        expect![[r#"
        4: write permitted by [rest]
        result None outputs [] wake Some(9)
        Anonymous::""
        rest: permit
    "#]],
    );
    check(
        db.explain(id, 5),
        expect![[r#"
        5: advance permitted by [rest]
        result None outputs [] wake None
        Object::"ID"
        rest: permit
    "#]],
    );
    let text = &db.explain(id, 4).unwrap().policy.unwrap().rules[0].text;
    assert!(policy().contains(text) && text.starts_with("@id(\"rest\") permit"), "{text}");
    assert!(text.ends_with("].contains(action) };"), "{text}");
}

#[test]
fn what_is_not_there_is_not_explained() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "fail", args![]).wait().unwrap_err();
    let error = db.explain(id, 1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoVersion { newest: 0, .. }), "{error}");
    for asked in [0, 2, u64::MAX] {
        let error = db.explain_refusal(id, asked).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NoRefusal { count: 1, .. }), "{error}");
    }
    let error = db.explain(ObjectId([1; 32]), 0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoObject), "{error}");
}

#[test]
fn refusals_by_the_policy_are_explained_by_what_did_not_hold() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    let by = |amount: u64| db.call(id, "add", args![amount]).wait().unwrap_err();
    by(11);
    db.write(id, vec![("total", Value::U64(99))]).wait().unwrap();
    by(11);
    by(5);
    by(u64::MAX);
    check(
        db.explain_refusal(id, 1),
        expect![[r#"
        1: add refused: not-permitted
        result Some(Number(11)) outputs [] wake None
        Anonymous::""
        little: permit
          effects.outputs = []
          input.amount = 11
        owner: permit
          signers = []
        rest: permit
    "#]],
    );
    check(
        db.explain_refusal(id, 2),
        expect![[r#"
        2: add refused: forbidden by most
        result Some(Number(110)) outputs [] wake None
        Anonymous::""
        most: forbid
          after.total = 110
          effects.wake = none
    "#]],
    );
    check(
        db.explain_refusal(id, 3),
        expect![[r#"
        2: add refused: forbidden by most
        result Some(Number(104)) outputs [] wake None
        Anonymous::""
        most: forbid
          after.total = 104
          effects.wake = none
    "#]],
    );
    check(
        db.explain_refusal(id, 4),
        expect![[r#"
        2: add refused: evaluation: input.amount is above 2^63 - 1
        result Some(Number(98)) outputs [] wake None
        Anonymous::""
        little: permit
          effects.outputs = []
          input.amount = (input.amount is above what a policy can count to)
    "#]],
    );
}

#[test]
fn refusals_by_native_rules_say_so() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    db.call(id, "add", args![9u64]).signed(&key()).nonce(5).wait().unwrap();
    db.call(id, "fail", args![]).wait().unwrap_err();
    db.call(id, "deep", args![]).wait().unwrap_err();
    db.call(id, "add", args![1u64]).signed(&key()).nonce(5).wait().unwrap_err();
    check(
        db.explain_refusal(id, 1),
        expect![[r#"
        2: fail refused: trap: unreachable code reached
        the policy was not asked
    "#]],
    );
    check(
        db.explain_refusal(id, 2),
        expect![[r#"
        2: deep refused: stack-exhausted: stack exhausted
        the policy was not asked
    "#]],
    );
    check(
        db.explain_refusal(id, 3),
        expect![[r#"
        2: add refused: replayed: nonce 5
        the policy was not asked
    "#]],
    );
}

#[test]
fn a_rule_that_reads_optional_and_other_actions_values_is_explained_by_those_that_there_are() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"@id("mood") permit(principal, action, resource) when {
        !(context.before has mood) && context.after.owner != "" &&
        (if action == Action::"rename" then context.input.to != "" else context.time > 0)
    };"#;
    let code = continuant::Code::wasm(labelled()).unwrap().policy(policy);
    let id = db.create(code.args(args!["me"])).unwrap();
    db.call(id, "count", args![]).wait().unwrap();
    check(
        db.explain(id, 1),
        expect![[r#"
        1: count permitted by [mood]
        result Some(String("me")) outputs [] wake None
        Anonymous::""
        mood: permit
          after.owner = "me"
          before.mood = none
          time = 1356998400000
    "#]],
    );
    db.call(id, "rename", args!["you"]).wait().unwrap();
    check(
        db.explain(id, 2),
        expect![[r#"
        2: rename permitted by [mood]
        result None outputs [] wake None
        Anonymous::""
        mood: permit
          after.owner = "you"
          before.mood = none
          input.to = "you"
          time = 1356998400000
    "#]],
    );
}

#[test]
fn a_dry_run_tells_what_then_happens_and_changes_nothing() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&policy())).unwrap();
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let key = key();
    for step in 0..200_u64 {
        let call = || match step % 5 {
            0 => db.call(id, "ring", args![START + step * 10 + 5]),
            1 => db.call(id, "fail", args![]),
            2 => db.write(id, vec![("total", Value::U64(step))]),
            3 => db.call(id, "add", args![step % 13]),
            _ => db.call(id, "add", args![step % 50]).signed(&key).nonce(step / 2 * 2),
        };
        if random.random_bool(0.3) {
            db.advance_clock(Time::from_millis(START + step * 10)).unwrap();
        }
        db.run_until(db.now()).unwrap();
        let before = db.info(id).unwrap();
        let told = call().dry_run().unwrap();
        assert_eq!(db.info(id).unwrap(), before, "seed {seed}");
        let outcome = call().wait();
        assert_eq!(told.seq, before.seq + 1, "seed {seed}");
        match (&told.verdict, outcome) {
            (Ok(admission), Ok(receipt)) => {
                let done = told.done.unwrap();
                assert_eq!(receipt.header.seq, told.seq, "seed {seed}");
                assert_eq!(receipt.rules, admission.rules, "seed {seed}");
                assert_eq!(receipt.result, done.result, "seed {seed}");
                assert_eq!(receipt.outputs().unwrap(), done.outputs, "seed {seed}");
                assert_eq!(receipt.header.wake, done.wake, "seed {seed}");
                assert_eq!(receipt.header.fuel, done.fuel, "seed {seed}");
                assert_eq!(receipt.header.page_count, done.page_count, "seed {seed}");
            }
            (Err(verdict), Err(error)) => {
                assert_eq!(error.refusal(), Some(verdict), "seed {seed}");
            }
            (told, outcome) => panic!("seed {seed}: {told:?}, {outcome:?}"),
        }
    }
    everything_is_explained(&db, id);
}

/// Each version and refusal of an object is explained as it is on record.
fn everything_is_explained(db: &Database, id: ObjectId) {
    let (mut versions, mut refusals) = (0, 0);
    for entry in db.history(id) {
        match entry.unwrap() {
            Entry::Version(entry) => {
                let told = db.explain(id, entry.header.seq).unwrap();
                let payloads = entry.payloads.unwrap();
                assert_eq!(told.verdict, Ok(payloads.admission));
                assert_eq!(told.input, payloads.input);
                assert_eq!(told.done.unwrap().outputs, payloads.effects.outputs);
                versions += 1;
            }
            Entry::Refusal(entry) => {
                refusals += 1;
                assert_eq!(entry.number, refusals);
                let told = db.explain_refusal(id, entry.number).unwrap();
                assert_eq!(told.verdict, Err(entry.refusal.verdict));
                assert_eq!(told.seq, entry.refusal.seq);
                assert_eq!(told.input, entry.input);
            }
        }
    }
    assert!(versions > 1 && refusals > 1, "{versions} versions, {refusals} refusals");
}

#[test]
fn refusals_have_the_same_number_from_either_end() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for _ in 0..3 {
        db.call(id, "add", args![1u64]).wait().unwrap();
        db.call(id, "fail", args![]).wait().unwrap_err();
    }
    let numbers = |history: continuant::History<'_>| {
        let entries = history.map(Result::unwrap);
        let numbers = entries.filter_map(|entry| match entry {
            Entry::Refusal(entry) => Some((entry.number, entry.refusal.seq)),
            Entry::Version(_) => None,
        });
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(numbers(db.history(id)), [(1, 2), (2, 3), (3, 4)]);
    assert_eq!(numbers(db.history(id).refused().limit(2)), [(1, 2), (2, 3)]);
    assert_eq!(numbers(db.history(id).refused().backwards()), [(3, 4), (2, 3), (1, 2)]);
}

#[test]
fn a_dry_run_is_behind_the_wakes_that_are_due() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let id = db.create(counter_code(OPEN)).unwrap();
    db.call(id, "add", args![98u64]).wait().unwrap();
    db.call(id, "ring", args![START + 10]).wait().unwrap();
    // Without a thread that posts wakes, they run along with other work.
    let db = {
        db.close().unwrap();
        let clock = continuant::Clock::manual(Time::from_millis(START + 5_000));
        fixture.open_with(Options::new().clock(clock).cycles(false))
    };
    let told = db.call(id, "add", args![0u64]).dry_run().unwrap();
    assert_eq!((told.seq, db.info(id).unwrap().seq), (5, 2));
    assert_eq!(told.done.unwrap().result, Some(Value::U64(100)));
    let receipt = db.call(id, "add", args![0u64]).wait().unwrap();
    assert_eq!((receipt.header.seq, receipt.result), (5, Some(Value::U64(100))));
}

#[test]
fn a_wake_that_would_be_refused_is_behind_no_dry_run() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let policy = r#"@id("calls") permit(principal is Anonymous, action, resource);"#;
    let id = db.create(counter_code(policy)).unwrap();
    db.call(id, "ring", args![START]).wait().unwrap();
    db.close().unwrap();
    let clock = continuant::Clock::manual(Time::from_millis(START + 5_000));
    let db = fixture.open_with(Options::new().clock(clock).cycles(false));
    let told = db.call(id, "add", args![3u64]).dry_run().unwrap();
    assert_eq!((told.seq, told.done.unwrap().result), (2, Some(Value::U64(3))));
    assert_eq!(db.info(id).unwrap().refusal_count, 0, "nor is it on record");
    db.call(id, "add", args![3u64]).wait().unwrap();
    assert_eq!(db.info(id).unwrap().refusal_count, 1);
    check(
        db.explain_refusal(id, 1),
        expect![[r#"
        2: advance refused: not-permitted
        result None outputs [] wake Some(1001)
        Object::"ID"
        calls: permit
    "#]],
    );
}

#[test]
fn what_is_no_input_is_no_dry_run() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let error = db.call(id, "add", args![true]).dry_run().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    let error = db.call(id, "add", args![1u64]).nonce(3).dry_run().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotSigned { .. }), "{error}");
    let error = db.call(ObjectId([1; 32]), "add", args![1u64]).dry_run().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoObject), "{error}");
    let key = key();
    let replayed = || db.call(id, "add", args![1u64]).signed(&key).nonce(3);
    replayed().dry_run().unwrap().verdict.unwrap();
    replayed().wait().unwrap();
    let told = replayed().dry_run().unwrap();
    assert_eq!(told.verdict.unwrap_err().reason, Reason::Replayed);
    assert!(told.policy.is_none() && told.done.is_none());
}

#[test]
fn what_retention_let_go_is_not_explained() {
    let fixture = Fixture::new();
    let small = storage::Options::new().segment_bytes(64 << 10);
    let db = fixture.open_with(fixture.options().storage(small));
    let id = db.create(counter_code(OPEN)).unwrap();
    for _ in 0..400 {
        db.call(id, "add", args![1u64]).wait().unwrap();
    }
    db.set_retention(Some(id), Retention::Versions(10)).unwrap();
    db.compact(|_, _| {}).unwrap();
    let error = db.explain(id, 5).unwrap_err();
    let ErrorKind::Storage(error) = error.kind() else { panic!("{error}") };
    assert!(matches!(error.kind(), storage::ErrorKind::Pruned { .. }), "{error}");
    db.explain(id, 399).unwrap();
}
