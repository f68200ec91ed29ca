//! Policies that are amended under their own rules, and rules about the record.

use continuant::{
    Database, ErrorKind, Kind, ObjectId, Reason, Receipt, Replay, Result, Time, args,
};

use crate::objects::{Fixture, OPEN, START, check_anywhere, counter_code, key};

const MINUTE: u64 = 60 * 1000;

/// Anyone may add at most this amount; the holder of the key of secret 1 may amend.
fn limited(limit: u64) -> String {
    let owner = key(1).public();
    format!(
        r#"@id("add") permit(principal, action == Action::"add", resource)
           when {{ context.input.amount <= {limit} }};
           @id("owner") permit(principal == Key::"{owner}", action == Action::"amend", resource);"#
    )
}

#[track_caller]
fn check(result: Result<Receipt>, reason: Reason) {
    let error = result.unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(reason), "{error}");
}

fn add(db: &Database, id: ObjectId, amount: u64) -> Result<Receipt> {
    db.call(id, "add", args![amount]).wait()
}

#[test]
fn a_policy_is_changed_under_the_one_that_there_is() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&limited(5))).unwrap();
    add(&db, id, 5).unwrap();
    check(add(&db, id, 6), Reason::NotPermitted);
    check(db.amend(id, &limited(6)).wait(), Reason::NotPermitted);
    check(db.amend(id, &limited(6)).signed(&key(2)).wait(), Reason::NotPermitted);
    let receipt = db.amend(id, &limited(6)).signed(&key(1)).wait().unwrap();
    assert_eq!((receipt.header.kind, receipt.rules), (Kind::Amend, vec!["owner".to_string()]));
    assert_eq!(receipt.header.page_count, 0);
    add(&db, id, 6).unwrap();
    check(add(&db, id, 7), Reason::NotPermitted);
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    for db in [here, there] {
        add(&db, id, 6).unwrap();
        check(add(&db, id, 7), Reason::NotPermitted);
        // Every version has the policy that decided on what followed it.
        for (seq, limit) in [(0, 5), (1, 5), (2, 6), (3, 6)] {
            let at = db.at(id, seq).unwrap();
            assert_eq!(at.definition().policy.text(), limited(limit), "version {seq}");
        }
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn whoever_permits_everything_does_not_permit_another_policy() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    add(&db, id, 1).unwrap();
    let error = db.amend(id, OPEN).signed(&key(1)).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LastPolicy), "{error}");
    check(db.amend_for_good(id, OPEN).signed(&key(1)).wait(), Reason::NotPermitted);
    // A rule that forbids everything forbids that too.
    let closed = format!(
        r#"{}
           @id("closed") forbid(principal, action, resource) when {{ context.before.total > 0 }};"#,
        limited(5)
    );
    let id = db.create(counter_code(&closed)).unwrap();
    db.amend(id, &closed).signed(&key(1)).wait().unwrap();
    let id = db.create(counter_code(&closed).secret([1; 32])).unwrap();
    let free = limited(5);
    let receipt = db.amend(id, &closed).signed(&key(1)).wait().unwrap();
    assert_eq!(receipt.header.seq, 1);
    check(add(&db, id, 1).and_then(|_| add(&db, id, 1)), Reason::Forbidden);
    check(db.amend(id, &free).signed(&key(1)).wait(), Reason::Forbidden);
}

#[test]
fn what_is_no_policy_for_the_object_is_told_before_it_is_posted() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&limited(5))).unwrap();
    for text in ["permit", r#"@id("a") permit(principal, action == Action::"fly", resource);"#] {
        let error = db.amend(id, text).signed(&key(1)).wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    }
    assert_eq!(db.info(id).unwrap().refusal_count, 0);
    let readable = db.history(id).count();
    assert_eq!(readable, 1);
}

#[test]
fn what_is_on_record_decides_on_what_follows() {
    let fixture = Fixture::new();
    let db = fixture.open();
    // At most two additions a minute, and none unless something rang within the last hour.
    let policy = r#"
        @id("ring") permit(principal, action == Action::"ring", resource);
        @id("add") permit(principal, action == Action::"add", resource) when {
            context.lineage.past.add.minute < 2 &&
            context.lineage.past.ring has time &&
            context.lineage.past.ring.time + 3600000 > context.time
        };"#;
    let id = db.create(counter_code(policy)).unwrap();
    check(add(&db, id, 1), Reason::NotPermitted);
    let far = START + 1_000 * MINUTE;
    db.call(id, "ring", args![far]).wait().unwrap();
    add(&db, id, 1).unwrap();
    add(&db, id, 1).unwrap();
    check(add(&db, id, 1), Reason::NotPermitted);
    db.advance_clock(Time::from_millis(START + MINUTE - 1)).unwrap();
    check(add(&db, id, 1), Reason::NotPermitted);
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    for db in [here, there] {
        // The clock of a database that is opened starts again, the object's time does not.
        check(add(&db, id, 1), Reason::NotPermitted);
        db.advance_clock(Time::from_millis(START + MINUTE)).unwrap();
        add(&db, id, 1).unwrap();
        db.advance_clock(Time::from_millis(START + 60 * MINUTE)).unwrap();
        check(add(&db, id, 1), Reason::NotPermitted);
        db.call(id, "ring", args![far]).wait().unwrap();
        add(&db, id, 1).unwrap();
        assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(4));
        db.verify(id, Replay::Yes).unwrap();
    }
}

/// A spending limit: what was admitted counts, here and wherever the object goes on.
#[test]
fn what_arguments_come_to_is_remembered_wherever_the_object_goes() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let limit = r#"
        @id("add") permit(principal, action == Action::"add", resource) when {
            context.lineage.past.add.sum.amount.hour + context.input.amount <= 10
        };
        @id("new") forbid(principal, action == Action::"add", resource) when {
            context.lineage.past.add.same.amount.day
        };
        @id("amend") permit(principal, action == Action::"amend", resource);"#;
    let id = db.create(counter_code(limit)).unwrap();
    add(&db, id, 4).unwrap();
    check(add(&db, id, 4), Reason::Forbidden);
    check(add(&db, id, 7), Reason::NotPermitted);
    add(&db, id, 5).unwrap();
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    for db in [here, there] {
        check(add(&db, id, 2), Reason::NotPermitted);
        add(&db, id, 1).unwrap();
        db.advance_clock(Time::from_millis(START + 60 * MINUTE)).unwrap();
        check(add(&db, id, 5), Reason::Forbidden);
        add(&db, id, 6).unwrap();
        check(add(&db, id, 8), Reason::NotPermitted);
        // Another policy that asks for the sum goes on with it, and not for the values.
        let sums = r#"
            @id("add") permit(principal, action == Action::"add", resource) when {
                context.lineage.past.add.sum.amount.hour + context.input.amount <= 13
            };
            @id("amend") permit(principal, action == Action::"amend", resource);"#;
        db.amend(id, sums).wait().unwrap();
        check(add(&db, id, 8), Reason::NotPermitted);
        add(&db, id, 6).unwrap();
        db.amend(id, limit).wait().unwrap();
        check(add(&db, id, 1), Reason::NotPermitted);
        db.advance_clock(Time::from_millis(START + 120 * MINUTE)).unwrap();
        add(&db, id, 6).unwrap();
        check(add(&db, id, 6), Reason::Forbidden);
        assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(28));
        db.verify(id, Replay::Yes).unwrap();
        // A fork begins with nothing.
        let fork = db.fork(id, db.info(id).unwrap().seq, None).unwrap();
        add(&db, fork, 6).unwrap();
        db.verify(fork, Replay::Yes).unwrap();
    }
}

#[test]
fn as_many_keys_as_a_rule_wants_are_on_record() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let policy = r#"
        @id("observe") permit(principal is Key, action == Action::"grow", resource);
        @id("quote") permit(principal, action == Action::"add", resource)
        when { context.lineage.past.grow.minute_signers >= 2 };"#;
    let id = db.create(counter_code(policy)).unwrap();
    let observe = |secret| db.call(id, "grow", args![0u32]).signed(&key(secret)).wait();
    observe(1).unwrap();
    observe(1).unwrap();
    check(add(&db, id, 1), Reason::NotPermitted);
    observe(2).unwrap();
    add(&db, id, 1).unwrap();
    db.advance_clock(Time::from_millis(START + MINUTE)).unwrap();
    check(add(&db, id, 1), Reason::NotPermitted);
    observe(2).unwrap();
    check(add(&db, id, 1), Reason::NotPermitted);
    observe(3).unwrap();
    add(&db, id, 1).unwrap();
    check_anywhere(&fixture, db, id);
}

#[test]
fn a_policy_knows_the_past_from_when_it_asks_for_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let owner = key(1).public();
    let once = format!(
        r#"@id("once") permit(principal, action == Action::"add", resource)
           when {{ context.lineage.past.add.count < 1 }};
           @id("owner") permit(principal == Key::"{owner}", action == Action::"amend", resource);"#
    );
    let id = db.create(counter_code(&limited(5))).unwrap();
    add(&db, id, 5).unwrap();
    db.amend(id, &once).signed(&key(1)).wait().unwrap();
    add(&db, id, 5).unwrap();
    check(add(&db, id, 5), Reason::NotPermitted);
    // A fact that no policy asks for is forgotten.
    db.amend(id, &limited(5)).signed(&key(1)).wait().unwrap();
    db.amend(id, &once).signed(&key(1)).wait().unwrap();
    add(&db, id, 5).unwrap();
    check(add(&db, id, 5), Reason::NotPermitted);
    check_anywhere(&fixture, db, id);
}

#[test]
fn a_policy_is_rehearsed_on_what_is_on_record() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&limited(5))).unwrap();
    for amount in [1, 5, 2, 4, 3] {
        add(&db, id, amount).unwrap();
    }
    db.amend(id, &limited(6)).signed(&key(1)).wait().unwrap();
    let told = db.rehearse(id, &limited(4), u64::MAX).unwrap();
    assert_eq!((told.versions, told.dropped, told.is_amendable), (6, 0, true));
    let refused: Vec<u64> = told.refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(refused, [2]);
    assert!(told.idle.is_empty() && told.dead.is_empty());
    // The past is as if the policy had been there from the first of these versions on.
    let thrice = r#"
        @id("thrice") permit(principal, action == Action::"add", resource)
        when { context.lineage.past.add.count < 3 };
        @id("never") @dormant("of a rehearsal") permit(principal, action == Action::"add", resource)
        when { action == Action::"grow" };
        @id("ring") permit(principal, action == Action::"ring", resource);"#;
    let told = db.rehearse(id, thrice, 5).unwrap();
    let refused: Vec<u64> = told.refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!((told.versions, refused), (5, vec![5, 6]));
    assert_eq!(told.idle, ["never", "ring"]);
    assert_eq!((told.dead, told.is_amendable), (vec!["never".to_string()], false));
    assert_eq!(db.info(id).unwrap().seq, 6, "nothing was changed");
    assert_eq!(db.info(id).unwrap().refusal_count, 0);
}

#[test]
fn a_policy_with_a_rule_that_cannot_be_meant_does_not_come_in() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&limited(5))).unwrap();
    let upper = key(2).public().to_string().to_uppercase();
    for (rule, found) in [
        (format!("forbid(principal == Key::\"{upper}\", action, resource);"), "is no key"),
        (format!("forbid(principal == Key::\"{upper}\", action, resource);"), "evades this"),
        ("forbid(principal, action, resource) when { context has limit };".into(), "never hold"),
    ] {
        let policy = format!("{}\n@id(\"no\")\n{rule}", limited(6));
        let told = [
            db.create(counter_code(&policy).secret([9; 32])).map(drop).unwrap_err(),
            db.amend(id, &policy).signed(&key(1)).wait().map(drop).unwrap_err(),
            db.amend_for_good(id, &policy).signed(&key(1)).wait().map(drop).unwrap_err(),
            db.rehearse(id, &policy, 10).map(drop).unwrap_err(),
            counter_code(&policy).outlook().map(drop).unwrap_err(),
        ];
        for error in told {
            let ErrorKind::Object(object) = error.kind() else { panic!("{error}") };
            let continuant::object::ErrorKind::Policy(findings) = object.kind() else {
                panic!("{error}")
            };
            assert!(findings.iter().any(|finding| finding.message.contains(found)), "{error}");
            let places = findings.iter().map(|finding| finding.place.as_ref().unwrap().line);
            assert!(places.max() > Some(3), "{error}");
        }
    }
    let info = db.info(id).unwrap();
    assert_eq!((info.seq, info.refusal_count), (0, 0), "the door leaves nothing on record");
    assert_eq!(db.objects().count(), 1);
    // Said to be dormant, a rule that can never hold comes in.
    let dormant = "@id(\"no\") @dormant(\"of a later schema\")
        forbid(principal, action, resource) when { context has limit };";
    let policy = format!("{}\n{dormant}", limited(6));
    let outlook = counter_code(&policy).outlook().unwrap();
    assert_eq!((outlook.dead, outlook.is_amendable), (vec!["no".to_string()], true));
    assert_eq!(
        (outlook.permitted, outlook.is_upgradable),
        (vec!["add".into(), "amend".into()], false)
    );
    db.amend(id, &policy).signed(&key(1)).wait().unwrap();
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn objects_that_are_given_the_same_policy_have_one_between_them() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = [[1; 32], [2; 32]].map(|secret| {
        let id = db.create(counter_code(&limited(5)).secret(secret)).unwrap();
        db.amend(id, &limited(6)).signed(&key(1)).wait().unwrap();
        id
    });
    let [one, other] = ids.map(|id| db.snapshot(id).unwrap());
    assert_eq!(one.definition().policy.text(), limited(6));
    assert!(std::sync::Arc::ptr_eq(one.definition(), other.definition()));
}
