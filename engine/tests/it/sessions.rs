//! Sessions: opened by a signature, used in place of it, attested by the database that holds the
//! secret, and over at their time or with the process.

use continuant::{
    Database, ErrorKind, Kind, ObjectId, Reason, Receipt, Replay, Result, Session, Time, args,
    verify_capsule,
};

use crate::objects::{Fixture, OPEN, START, counter_code, key};

const HOUR: u64 = 60 * 60 * 1000;

/// The key of secret 1 may add, open sessions, and amend; nothing is written in a session.
fn policy() -> String {
    let one = key(1).public();
    format!(
        r#"@id("owner") permit(principal == Key::"{one}", action in
               [Action::"add", Action::"write", Action::"amend", Action::"open_session"], resource);
           @id("attended") forbid(principal, action == Action::"write", resource)
           when {{ context.credential == "session" }};"#
    )
}

fn session(secret: u8) -> Session {
    Session::from_secret(&[secret; 32], Time::from_millis(START + HOUR))
}

/// A counter with session 1 open on it.
fn counter(db: &Database) -> ObjectId {
    let id = db.create(counter_code(&policy())).unwrap();
    let receipt = db.open_session(id, &session(1)).signed(&key(1)).wait().unwrap();
    assert_eq!(receipt.header.kind, Kind::OpenSession);
    assert_eq!(receipt.rules, ["owner"]);
    id
}

fn add(db: &Database, id: ObjectId, session: &Session) -> Result<Receipt> {
    db.call(id, "add", args![1u64]).in_session(session).wait()
}

#[track_caller]
fn check(result: Result<Receipt>, reason: Reason) {
    let error = result.unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(reason), "{error}");
}

#[test]
fn calls_in_a_session_are_of_the_key_that_opened_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    for _ in 0..3 {
        assert_eq!(add(&db, id, &session(1)).unwrap().rules, ["owner"]);
    }
    // Signed calls with nonces of their own run between the session's calls.
    db.call(id, "add", args![1u64]).signed(&key(1)).wait().unwrap();
    let write = || db.write(id, vec![("total", 9u64.into())]);
    check(write().in_session(&session(1)).wait(), Reason::Forbidden);
    write().signed(&key(1)).wait().unwrap();
    let entry = db.explain(id, 2).unwrap();
    assert_eq!(entry.input.credential.unwrap().session(), Some(session(1).id()));
    // A verifier with the object verifies everything but the codes.
    let mut capsule = Vec::new();
    db.export(id, &mut capsule).unwrap();
    for replay in [Replay::No, Replay::Yes] {
        let verified = verify_capsule(&capsule[..], replay).unwrap();
        assert_eq!((verified.versions, verified.refusals), (7, 1));
        assert_eq!(verified, db.verify(id, replay).unwrap());
    }
    let policy = db.explain_refusal(id, 1).unwrap().policy.unwrap();
    let read = &policy.rules[0].reads[0];
    assert_eq!((read.path.as_str(), &read.value), ("credential", &Ok(Some("session".into()))));
}

#[test]
fn a_session_is_opened_by_a_signature_that_a_rule_permits() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    check(db.open_session(id, &session(2)).wait(), Reason::Credential);
    check(db.open_session(id, &session(2)).signed(&key(2)).wait(), Reason::NotPermitted);
    check(db.open_session(id, &session(2)).in_session(&session(1)).wait(), Reason::Credential);
    check(db.open_session(id, &session(1)).signed(&key(1)).wait(), Reason::SessionOpen);
    let amend = db.amend(id, &policy()).in_session(&session(1)).wait();
    check(amend, Reason::Credential);
    check(add(&db, id, &session(2)), Reason::NoSession);
    // A policy that permits everything does not thereby permit sessions.
    let open = db.create(counter_code(OPEN)).unwrap();
    check(db.open_session(open, &session(1)).signed(&key(1)).wait(), Reason::NotPermitted);
    check(add(&db, open, &session(1)), Reason::NoSession);
    for id in [id, open] {
        db.verify(id, Replay::Yes).unwrap();
        for number in 1..=db.history(id).refused().count() as u64 {
            db.explain_refusal(id, number).unwrap();
        }
    }
}

#[test]
fn a_session_is_over_at_its_time() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    db.advance_clock(Time::from_millis(START + HOUR)).unwrap();
    add(&db, id, &session(1)).unwrap();
    let open = session(1);
    let late = || {
        let call = db.call(id, "add", args![1u64]).in_session(&open);
        call.expires(Time::from_millis(START + HOUR + 1)).wait()
    };
    check(late(), Reason::ExpiresTooLate);
    db.advance_clock(Time::from_millis(START + HOUR + 1)).unwrap();
    check(late(), Reason::NoSession);
    check(add(&db, id, &session(1)), Reason::Expired);
    // A session of the same secret is another one.
    let again = Session::from_secret(&[1; 32], Time::from_millis(START + 2 * HOUR));
    db.open_session(id, &again).signed(&key(1)).wait().unwrap();
    db.call(id, "add", args![1u64]).in_session(&again).nonce(1).wait().unwrap();
    check(db.call(id, "add", args![1u64]).in_session(&again).nonce(1).wait(), Reason::Replayed);
    db.verify(id, Replay::Yes).unwrap();
}

/// Without its secret nobody can tell whether an input is in a session: it has no verdict.
#[test]
fn a_secret_that_is_not_held_leaves_nothing_on_record() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    add(&db, id, &session(1)).unwrap();
    db.close().unwrap();
    let db = fixture.open();
    let open = session(1);
    let unheld = |db: &Database| {
        let error = add(db, id, &session(1)).unwrap_err();
        let ErrorKind::SessionNotHeld { session: found } = error.kind() else { panic!("{error}") };
        assert_eq!((*found, error.object()), (session(1).id(), Some(id)));
        let call = db.call(id, "add", args![1u64]).in_session(&open);
        let error = call.dry_run().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::SessionNotHeld { .. }), "{error}");
        assert_eq!(db.info(id).unwrap().refusal_count, 0);
    };
    unheld(&db);
    db.hold_session(&session(1)).unwrap();
    let call = db.call(id, "add", args![1u64]).in_session(&open);
    assert_eq!(call.dry_run().unwrap().verdict.unwrap().rules, ["owner"]);
    add(&db, id, &session(1)).unwrap();
    db.drop_session(session(1).id());
    unheld(&db);
    assert_eq!(db.snapshot(id).unwrap().get::<u64>("total"), Ok(2));
    db.verify(id, Replay::Yes).unwrap();
}

#[test]
fn a_session_is_opened_on_many_objects_under_one_signature() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids: Vec<ObjectId> = (0..4).map(|_| db.create(counter_code(&policy())).unwrap()).collect();
    let openings = ids.iter().map(|&id| db.open_session(id, &session(1)));
    for receipt in db.batch(openings).signed(&key(1)).wait().unwrap() {
        receipt.unwrap();
    }
    for &id in &ids {
        add(&db, id, &session(1)).unwrap();
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn a_call_has_one_credential() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    let (one, open) = (key(1), session(1));
    let add = || db.call(id, "add", args![1u64]).in_session(&open);
    let error = add().signed(&one).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TwoCredentials { other: "session" }), "{error}");
    let error = db.batch([add()]).signed(&one).wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TwoCredentials { other: "batch" }), "{error}");
}

/// A rehearsal of another policy judges sessions as it judges everything else.
#[test]
fn a_rehearsal_tells_sessions() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    add(&db, id, &session(1)).unwrap();
    db.call(id, "add", args![1u64]).signed(&key(1)).wait().unwrap();
    let stricter = policy().replace(r#"action == Action::"write", resource)"#, "action, resource)");
    let told = db.rehearse(id, &stricter, 10).unwrap();
    let refused: Vec<u64> = told.refused.iter().map(|(seq, _)| *seq).collect();
    assert_eq!((told.versions, refused), (3, vec![2]));
    db.amend(id, &stricter).signed(&key(1)).wait().unwrap();
    check(add(&db, id, &session(1)), Reason::Forbidden);
}

/// Found by `admission_soundness`, seed 7: a store that imported a capsule compared nonces of a
/// session with those of the keys that had opened it.
#[test]
fn an_object_moves_whatever_nonces_its_sessions_have() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = counter(&db);
    for nonce in [1, 2] {
        db.call(id, "add", args![1u64]).in_session(&session(1)).nonce(nonce).wait().unwrap();
    }
    let mut capsule = Vec::new();
    db.export(id, &mut capsule).unwrap();
    let elsewhere = Fixture::new();
    let other = elsewhere.open();
    assert_eq!(other.import(std::io::Cursor::new(capsule)).unwrap(), id);
    assert_eq!(other.verify(id, Replay::Yes).unwrap(), db.verify(id, Replay::Yes).unwrap());
    other.hold_session(&session(1)).unwrap();
    check(
        other.call(id, "add", args![1u64]).in_session(&session(1)).nonce(2).wait(),
        Reason::Replayed,
    );
    other.call(id, "add", args![1u64]).in_session(&session(1)).nonce(3).wait().unwrap();
}
