//! Read rules: the fields that a principal may read, and those that it may not.

use continuant::{
    Code, Database, ErrorKind, ObjectId, Principal, ReadableSnapshot, Reason, Time, Value, args,
};

use crate::objects::{Fixture, START, counter_code, key, module};

const ANYONE: Principal = Principal::Anonymous;

fn holder(secret: u8) -> Principal {
    Principal::Key(key(secret).public().0)
}

/// The counter's policy: anyone may add; these rules are on reads.
fn reading(rules: &str) -> String {
    format!(r#"@id("add") permit(principal, action == Action::"add", resource); {rules}"#)
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(read: continuant::Result<T>, reason: Reason, rules: &[&str]) {
    let error = read.unwrap_err();
    let ErrorKind::NotReadable { verdict, .. } = error.kind() else { panic!("{error}") };
    let found: Vec<&str> = verdict.rules.iter().map(String::as_str).collect();
    assert_eq!((verdict.reason, &found[..]), (reason, rules));
}

fn newest(db: &Database, principal: Principal, id: ObjectId) -> ReadableSnapshot {
    db.reader(principal).snapshot(id).unwrap()
}

#[test]
fn a_principal_reads_the_fields_that_the_policy_permits_and_no_other() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let owner = key(1).public();
    let policy = reading(&format!(
        r#"@id("owner") permit(principal == Key::"{owner}", action == Action::"read", resource);
           @id("total") permit(principal, action == Action::"read", resource)
           when {{ context.field == "total" }};"#
    ));
    let id = db.create(counter_code(&policy)).unwrap();
    db.call(id, "add", args![7u64]).wait().unwrap();
    for stranger in [ANYONE, holder(2), Principal::Object(id)] {
        let read = newest(&db, stranger, id);
        assert_eq!(read.fields().unwrap(), ["total"]);
        assert_eq!(read.get::<u64>("total").unwrap(), 7);
        assert_eq!(read.value("total").unwrap(), Value::U64(7));
        check_refused(read.get::<u64>("last"), Reason::NotPermitted, &[]);
        check_refused(read.value("last"), Reason::NotPermitted, &[]);
        let total = ("total".to_string(), Value::U64(7));
        assert_eq!(read.state().unwrap(), Value::Record(vec![total]));
    }
    let read = newest(&db, holder(1), id);
    assert_eq!(read.fields().unwrap(), ["total", "last"]);
    assert_eq!(read.get::<u64>("last").unwrap(), START);
    assert_eq!(read.state().unwrap(), db.snapshot(id).unwrap().state().unwrap());
    let unknown = read.value("missing").unwrap_err();
    assert!(matches!(unknown.kind(), ErrorKind::Object(_)), "{unknown}");
}

#[test]
fn without_a_rule_on_reads_nothing_is_read_and_a_rule_on_everything_is_one() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let closed = db.create(counter_code(&reading(""))).unwrap();
    assert!(newest(&db, ANYONE, closed).fields().unwrap().is_empty());
    check_refused(newest(&db, ANYONE, closed).get::<u64>("total"), Reason::NotPermitted, &[]);
    let open = db.create(counter_code(crate::objects::OPEN)).unwrap();
    assert_eq!(newest(&db, ANYONE, open).fields().unwrap(), ["total", "last"]);
    let secret = r#"@id("open") permit(principal, action, resource);
        @id("secret") forbid(principal, action == Action::"read", resource)
        when { context.field == "last" };"#;
    let secret = db.create(counter_code(secret)).unwrap();
    assert_eq!(newest(&db, ANYONE, secret).fields().unwrap(), ["total"]);
    let read = newest(&db, ANYONE, secret).get::<u64>("last");
    check_refused(read, Reason::Forbidden, &["secret"]);
    db.call(secret, "add", args![1u64]).wait().unwrap();
}

/// A field of two words and a record, so that there is more than one way to write a path.
fn parcel() -> Vec<u8> {
    module(
        "record place { latitude: u64, door-code: u64 }
         record state { door-code: u64, place: place, codes: list<u64> }
         nothing: func();",
        "",
        r#"(data (i32.const 4096) "\01\00\00\00\00\00\00\00")
           (func (export "nothing"))"#,
    )
}

#[test]
fn a_field_is_the_same_however_its_path_is_written() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"@id("open") permit(principal, action, resource);
        @id("code") forbid(principal, action == Action::"read", resource)
        when { context.field == "door-code" || context.field == "codes" };"#;
    let id = db.create(Code::wasm(parcel()).unwrap().policy(policy)).unwrap();
    let read = newest(&db, ANYONE, id);
    for path in ["door-code", "door_code", "codes", "codes.0"] {
        check_refused(read.value(path), Reason::Forbidden, &["code"]);
    }
    assert_eq!(read.get::<u64>("place.door_code").unwrap(), 0, "rules are on whole fields");
    assert_eq!(read.fields().unwrap(), ["place"]);
}

#[test]
fn approvals_and_the_past_decide_on_reads_as_they_do_on_steps() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = reading(
        r#"@id("used") permit(principal is Key, action == Action::"read", resource)
           when { context.lineage.past.add.count >= 2 && context.lineage.past.add.minute < 2
                  && context.lineage.seq >= 1 };"#,
    );
    let id = db.create(counter_code(&policy)).unwrap();
    for _ in 0..2 {
        check_refused(newest(&db, holder(1), id).get::<u64>("total"), Reason::NotPermitted, &[]);
        db.call(id, "add", args![1u64]).wait().unwrap();
    }
    check_refused(newest(&db, holder(1), id).get::<u64>("total"), Reason::NotPermitted, &[]);
    db.advance_clock(Time::from_millis(START + 60_000)).unwrap();
    assert_eq!(newest(&db, holder(1), id).get::<u64>("total").unwrap(), 2);
    check_refused(newest(&db, ANYONE, id).get::<u64>("total"), Reason::NotPermitted, &[]);
    let first = db.reader(holder(1)).at(id, 0).unwrap();
    check_refused(first.get::<u64>("total"), Reason::NotPermitted, &[]);
    assert_eq!(db.reader(holder(1)).at(id, 1).unwrap().get::<u64>("total").unwrap(), 1);
}

#[test]
fn versions_before_an_amendment_are_read_by_the_policy_that_there_is_now() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let amend = r#"@id("amend") permit(principal, action == Action::"amend", resource);"#;
    let open = reading(&format!(
        r#"@id("read") permit(principal, action == Action::"read", resource); {amend}"#
    ));
    let id = db.create(counter_code(&open)).unwrap();
    db.call(id, "add", args![9u64]).wait().unwrap();
    let before = newest(&db, ANYONE, id);
    assert_eq!(before.get::<u64>("total").unwrap(), 9);
    let published = reading(&format!(
        r#"@id("read") permit(principal, action == Action::"read", resource)
           when {{ context.before.total < 5 && context.after == context.before }}; {amend}"#
    ));
    db.amend(id, &published).wait().unwrap();
    assert_eq!(before.get::<u64>("total").unwrap(), 9, "a snapshot stays what it is");
    check_refused(newest(&db, ANYONE, id).get::<u64>("total"), Reason::NotPermitted, &[]);
    let reader = db.reader(ANYONE);
    assert_eq!(reader.at(id, 0).unwrap().get::<u64>("total").unwrap(), 0);
    check_refused(
        reader.as_of(id, Time::from_millis(START)).unwrap().get::<u64>("total"),
        Reason::NotPermitted,
        &[],
    );
}

#[test]
fn what_only_cedar_decides_is_decided_and_what_cannot_be_evaluated_is_refused() {
    let fixture = Fixture::new();
    let db = fixture.open();
    // A record as a value is not compiled; a product of 2^62 and 4 is above every number.
    let policy = reading(
        r#"@id("same") permit(principal, action == Action::"read", resource)
           when { context.before == context.after && context.field == "total" };
           @id("large") permit(principal is Key, action == Action::"read", resource)
           when { 4611686018427387904 * (context.lineage.seq + 4) > 0 };"#,
    );
    let id = db.create(counter_code(&policy)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    let read = newest(&db, ANYONE, id);
    assert_eq!(read.fields().unwrap(), ["total"]);
    check_refused(read.get::<u64>("last"), Reason::NotPermitted, &[]);
    let failing = newest(&db, holder(1), id);
    check_refused(failing.get::<u64>("total"), Reason::Evaluation, &["large"]);
    let old = db.reader(ANYONE).at(id, 0).unwrap();
    assert_eq!(old.get::<u64>("total").unwrap(), 0);
}

#[test]
fn a_snapshot_does_not_show_what_it_holds_when_it_is_printed() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&reading(""))).unwrap();
    db.call(id, "add", args![0x5eed_5eed_5eedu64]).wait().unwrap();
    let printed = format!("{:?}", newest(&db, ANYONE, id));
    assert!(!printed.contains(&0x5eed_5eed_5eedu64.to_string()), "{printed}");
}
