//! Objects that are deleted, within their policies: the last version, what goes with it, and what
//! is asked of them later.

use std::io::Cursor;

use continuant::{
    Code, Database, Durability, Entry, ErrorKind, Kind, ObjectId, Reason, Receipt, Replay, Result,
    Retention, Session, Time, Upgrade, Value, args, storage,
};

use crate::messages::relay_code;
use crate::objects::{Fixture, OPEN, START, capsule, check_anywhere, counter_code, key};

/// Anyone may do anything but delete, which the key of secret 1 may.
fn owned() -> String {
    let one = key(1).public();
    format!(
        r#"{OPEN}
           @id("opens") permit(principal is Key, action == Action::"open_session", resource);
           @id("change") permit(principal, action in [Action::"upgrade", Action::"amend"],
               resource);
           @id("end") permit(principal == Key::"{one}", action == Action::"delete", resource);"#
    )
}

fn delete(db: &Database, id: ObjectId) -> Receipt {
    db.delete(id).signed(&key(1)).wait().unwrap()
}

/// Runs it on a thread that has the stack to work: without workers, it does.
fn working(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(continuant::STACK_BYTES).spawn(run);
    thread.unwrap().join().unwrap();
}

#[track_caller]
fn is_deleted<T>(result: Result<T>, at: Time) {
    let Err(error) = result else { panic!("it is done") };
    assert!(matches!(error.kind(), ErrorKind::Deleted { at: found } if *found == at), "{error}");
    assert!(error.to_string().contains(&format!("was deleted at {at}")), "{error}");
    assert!(error.object().is_some(), "{error}");
}

#[track_caller]
fn check(result: Result<Receipt>, reason: Reason) {
    let error = result.unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(reason), "{error}");
}

#[test]
fn only_a_rule_that_names_it_permits_a_deletion() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    check(db.delete(id).wait(), Reason::NotPermitted);
    check(db.delete(id).signed(&key(1)).wait(), Reason::NotPermitted);
    let id = db.create(counter_code(&owned()).name("one")).unwrap();
    check(db.delete(id).wait(), Reason::NotPermitted);
    check(db.delete(id).signed(&key(2)).wait(), Reason::NotPermitted);
    let session = Session::from_secret(&[3; 32], Time::from_millis(START + 1000));
    db.open_session(id, &session).signed(&key(1)).wait().unwrap();
    check(db.delete(id).in_session(&session).wait(), Reason::Credential);
    let explained = db.delete(id).signed(&key(1)).dry_run().unwrap();
    assert_eq!(explained.verdict.unwrap().rules, ["end"]);
    assert_eq!(db.info(id).unwrap().deleted, None);
    let receipt = delete(&db, id);
    assert_eq!((receipt.header.kind, receipt.header.seq), (Kind::Delete, 2));
    assert_eq!(receipt.rules, ["end"]);
    assert_eq!(db.explain(id, 2).unwrap().policy.unwrap().rules[0].id, "end");
    assert_eq!(
        db.explain_refusal(id, 1).unwrap().verdict.unwrap_err().reason,
        Reason::NotPermitted
    );
    // A guard is asked too, and a forbid holds.
    let shut = format!(
        "{}\n@id(\"shut\") forbid(principal, action == Action::\"delete\", resource)
        when {{ context.before.total > 5 }};",
        owned()
    );
    let id = db.create(counter_code(&shut)).unwrap();
    db.call(id, "add", args![6u64]).wait().unwrap();
    check(db.delete(id).signed(&key(1)).wait(), Reason::Forbidden);
}

#[test]
fn policies_say_whether_anyone_may_delete() {
    let fixture = Fixture::new();
    let db = fixture.open();
    for (policy, deletable) in [(OPEN.to_string(), false), (owned(), true)] {
        let code = counter_code(&policy);
        let outlook = code.outlook().unwrap();
        assert_eq!(outlook.is_deletable, deletable);
        assert_eq!(outlook.permitted.contains(&"delete".to_string()), deletable);
        let id = db.create(code).unwrap();
        let rehearsal = db.rehearse(id, &*policy, 9).unwrap();
        assert_eq!(rehearsal.is_deletable, deletable);
    }
    let never = format!(
        "{}\n@id(\"never\") forbid(principal, action == Action::\"delete\", resource);",
        owned()
    );
    assert!(!counter_code(&never).outlook().unwrap().is_deletable);
}

#[test]
fn the_last_version_keeps_the_state_and_ends_wake_sessions_and_name() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&owned()).name("one")).unwrap();
    db.call(id, "add", args![42u64]).wait().unwrap();
    db.call(id, "ring", args![START + 1000]).wait().unwrap();
    let session = Session::from_secret(&[3; 32], Time::from_millis(START + 10_000));
    db.open_session(id, &session).signed(&key(2)).wait().unwrap();
    db.call(id, "add", args![1u64]).in_session(&session).wait().unwrap();
    let before = db.snapshot(id).unwrap();
    let frames = db.metrics().log_frames;
    let receipt = delete(&db, id);
    assert_eq!(db.metrics().log_frames, frames + 1, "version and name are one frame");
    let header = &receipt.header;
    assert_eq!(header.wake, None);
    assert_eq!((header.page_count, header.fuel), (0, 0));
    assert_eq!(header.memory_root, before.header().memory_root);
    assert_eq!((header.policy, header.globals), (before.header().policy, before.header().globals));
    let at = header.time;
    assert_eq!(db.find("one").unwrap(), None);
    let holders: Vec<_> = db.name_history("one").unwrap().map(|it| it.unwrap()).collect();
    assert_eq!(holders.len(), 1);
    assert_eq!((holders[0].object, holders[0].until.unwrap().time), (id, at));
    let other = db.create(counter_code(OPEN).name("one")).unwrap();
    assert_eq!(db.find("one").unwrap(), Some(other), "the name is free");
    db.run_until(Time::from_millis(START + 5000)).unwrap();
    assert!(db.overdue().is_empty());
    let check = |db: &Database| {
        assert_eq!(db.snapshot(id).unwrap().get::<u64>("total").unwrap(), 43);
        assert_eq!(db.at(id, 1).unwrap().get::<u64>("total").unwrap(), 42);
        let info = db.info(id).unwrap();
        assert_eq!((info.seq, info.wake, info.deleted), (5, None, Some(at)));
        assert!(db.last_nonce(id, &key(1).public()).unwrap().is_some());
        let all: Vec<_> = db.objects().map(|it| it.unwrap().id).collect();
        let living: Vec<_> = db.objects().living().map(|it| it.unwrap().id).collect();
        assert!(all.contains(&id) && !living.contains(&id));
        let Some(Ok(Entry::Version(last))) = db.history(id).backwards().next() else { panic!() };
        assert_eq!(last.header.kind, Kind::Delete);
        let report = db.check(|_, _| {}).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        assert_eq!(report.deleted_count, 1);
    };
    check(&db);
    db.set_retention(Some(id), Retention::Versions(2)).unwrap();
    let (here, there, _elsewhere) = check_anywhere(&fixture, db, id);
    check(&here);
    check(&there);
    here.compact_all(|_, _| {}).unwrap();
    assert_eq!(here.snapshot(id).unwrap().get::<u64>("total").unwrap(), 43);
    assert!(here.check(|_, _| {}).unwrap().is_sound());
    here.verify(id, Replay::Yes).unwrap();
}

#[test]
fn whatever_is_asked_later_says_when_it_was_deleted_and_leaves_no_record() {
    let fixture = Fixture::new();
    let mut db = fixture.open();
    let id = db.create(counter_code(&owned())).unwrap();
    let other = db.create(counter_code(&owned())).unwrap();
    db.advance_clock(Time::from_millis(START + 500)).unwrap();
    let at = delete(&db, id).header.time;
    assert_eq!(at.as_millis(), START + 500);
    db.advance_clock(Time::from_millis(START + 900)).unwrap();
    for round in 0..3 {
        let frames = db.metrics().log_frames;
        let add = |of| db.call(of, "add", args![1u64]);
        is_deleted(add(id).wait(), at);
        is_deleted(add(id).signed(&key(1)).wait(), at);
        is_deleted(add(id).dry_run(), at);
        is_deleted(db.write(id, vec![("total", 9u64.into())]).wait(), at);
        is_deleted(db.amend(id, &*owned()).signed(&key(1)).wait(), at);
        let to = Upgrade::wasm(continuant::samples::TALLY).unwrap().policy(&*owned());
        is_deleted(db.upgrade(id, &to).signed(&key(1)).wait(), at);
        is_deleted(db.delete(id).signed(&key(1)).wait(), at);
        let session = Session::from_secret(&[3; 32], Time::from_millis(START + 5000));
        is_deleted(db.open_session(id, &session).signed(&key(1)).wait(), at);
        is_deleted(db.advance(id), at);
        is_deleted(db.fork(id, 0, None), at);
        is_deleted(db.fork_without_wake(id, 1, None), at);
        is_deleted(db.move_away(id, &mut Vec::new()), at);
        is_deleted(db.transaction([add(other), add(id)]).wait(), at);
        is_deleted(
            db.set_name(id, "again").map_err(|error| {
                assert!(error.to_string().contains("was deleted at"), "{error}");
                error
            }),
            at,
        );
        let batch = db.batch([add(other), add(id)]).signed(&key(1)).wait().unwrap();
        let [done, refused] = <[_; 2]>::try_from(batch).unwrap();
        is_deleted(refused, at);
        done.unwrap();
        assert!(!db.take_back(id).unwrap(), "it was not moved away");
        assert_eq!(db.metrics().log_frames, frames + 1, "the other's call alone");
        let info = db.info(id).unwrap();
        assert_eq!((info.seq, info.refusal_count, info.name), (1, 0, None));
        assert_eq!(db.info(other).unwrap().seq, round + 1);
        db.close().unwrap();
        db = fixture.open();
        db.advance_clock(Time::from_millis(START + 900)).unwrap();
    }
    // A fleet passes it over.
    let code = db.info(id).unwrap().code;
    let to = Upgrade::wasm(continuant::samples::TALLY).unwrap().policy(&*owned());
    let upgraded: Vec<_> = db.upgrade_all(code, &to).map(|it| it.unwrap().0).collect();
    assert_eq!(upgraded, [other]);
    assert!(db.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn a_deletion_waits_its_turn_and_what_waits_behind_it_comes_to_nothing() {
    working(|| [0, 1, 3].into_iter().for_each(deletion_in_turn));
}

fn deletion_in_turn(workers: usize) {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().workers(workers));
    let ids = [(); 2].map(|()| db.create(counter_code(&owned())).unwrap());
    let add = |id| db.call(id, "add", args![1u64]);
    let before = db.transaction(ids.map(add)).submit().unwrap();
    let deleted = db.delete(ids[0]).signed(&key(1)).submit().unwrap();
    // These are in the mailbox already, or are turned away at once.
    let behind = db.transaction(ids.map(add)).submit();
    let call = add(ids[0]).submit();
    let other = add(ids[1]).submit().unwrap();
    let made = before.wait().unwrap();
    assert_eq!(made.iter().map(|it| it.header.seq).collect::<Vec<_>>(), [1, 1]);
    let receipt = deleted.wait().unwrap();
    assert_eq!(receipt.header.seq, 2, "it waits for the transaction");
    let at = receipt.header.time;
    is_deleted(behind.and_then(|behind| behind.wait()), at);
    is_deleted(call.and_then(|call| call.wait()), at);
    assert_eq!(other.wait().unwrap().header.seq, 2, "the other is not held up");
    // It may be part of a transaction, with the account that gets what is left.
    let owner = key(1);
    let delete = db.delete(ids[1]).signed(&owner);
    let third = db.create(counter_code(&owned())).unwrap();
    let both = db.transaction([add(third), delete]).wait().unwrap();
    assert_eq!(both[1].header.kind, Kind::Delete);
    let (fourth, last) = (db.create(counter_code(&owned())).unwrap(), add(third));
    // All or none: the stranger may not delete.
    let refused = db.transaction([last, db.delete(fourth).signed(&key(2))]).wait();
    assert_eq!(refused.unwrap_err().object(), Some(fourth));
    add(fourth).wait().unwrap();
    for id in ids {
        db.verify(id, Replay::Yes).unwrap();
    }
    assert!(db.check(|_, _| {}).unwrap().is_sound());
}

fn id(id: ObjectId) -> Value {
    Value::from(&id.0[..])
}

fn relay(db: &Database) -> ObjectId {
    db.create(relay_code(&owned())).unwrap()
}

fn why(db: &Database) -> Vec<String> {
    db.dead_letters().map(|letter| letter.unwrap().why).collect()
}

#[test]
fn messages_to_it_are_dead_letters_and_its_own_are_delivered() {
    working(mail_of_the_deleted);
}

fn mail_of_the_deleted() {
    let fixture = Fixture::new();
    // Nobody works but this thread, so what is on its way stays there.
    let db = fixture.open_with(fixture.options().workers(0));
    let (from, to, other) = (relay(&db), relay(&db), relay(&db));
    let relaxed =
        |call: continuant::Call<'_>| call.durability(Durability::Relaxed).submit().unwrap();
    // The deletion is in its mailbox before it hears of the messages.
    let deletion = relaxed(db.delete(to).signed(&key(1)));
    let own = relaxed(db.call(from, "flood", args![id(other), 3u32]));
    let flood = relaxed(db.call(from, "flood", args![id(to), 5u32]));
    let end = relaxed(db.delete(from).signed(&key(1)));
    // The sender has its turn, before the one that is deleted.
    assert_eq!(db.work(1), Some(from));
    assert!(own.is_answered() && flood.is_answered() && end.is_answered());
    assert_eq!(db.message_count(), 8);
    let dead = db.metrics().messages_dead;
    assert_eq!(db.work(0), Some(to));
    assert!(deletion.is_answered());
    assert_eq!(db.message_count(), 3, "those on their way to it went with it, in its frame");
    assert_eq!(why(&db), ["the object was deleted"; 5]);
    assert_eq!(db.metrics().messages_dead, dead + 5);
    db.run_until(db.now()).unwrap();
    assert_eq!(db.message_count(), 0);
    assert_eq!(db.snapshot(other).unwrap().get::<u64>("got").unwrap(), 3, "its own arrive");
    // Later ones are dead at once, and again when they are retried.
    db.call(other, "flood", args![id(to), 2u32]).wait().unwrap();
    db.run_until(db.now()).unwrap();
    assert_eq!(why(&db), ["the object was deleted"; 7]);
    let letter = db.dead_letters().next().unwrap().unwrap();
    db.retry_dead_letter(letter.id).unwrap();
    db.run_until(db.now()).unwrap();
    assert_eq!((why(&db).len(), db.message_count()), (7, 0));
    drop((own, flood, end, deletion));
    db.close().unwrap();
    let db = fixture.open();
    assert_eq!(why(&db), ["the object was deleted"; 7]);
    assert!(db.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn its_outputs_are_given() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&owned())).unwrap();
    db.call(id, "ring", args![START + 1000]).wait().unwrap();
    delete(&db, id);
    drop(db.create_outbox("bell").unwrap());
    db.set_retention(None, Retention::Versions(1)).unwrap();
    db.compact_all(|_, _| {}).unwrap();
    let given: Vec<_> = db.outbox("bell").unwrap().map(|it| it.unwrap().object).collect();
    assert_eq!(given, [id]);
}

#[test]
fn an_import_takes_the_deletion_over_and_never_brings_it_back() {
    let fixtures = [Fixture::new(), Fixture::new()];
    let dbs = fixtures.each_ref().map(Fixture::open);
    let id = dbs[0].create(counter_code(&owned()).name("one")).unwrap();
    dbs[0].call(id, "ring", args![START + 1000]).wait().unwrap();
    let older = capsule(&dbs[0], id);
    dbs[1].import_as(Cursor::new(older.clone()), "two").unwrap();
    // It moves away and is deleted elsewhere.
    dbs[1].move_away(id, &mut Vec::new()).unwrap();
    let moved = dbs[1].delete(id).signed(&key(1)).wait().unwrap_err();
    assert!(matches!(moved.kind(), ErrorKind::Moved), "{moved}");
    let at = delete(&dbs[0], id).header.time;
    let newest = capsule(&dbs[0], id);
    let named = dbs[1].import_as(Cursor::new(newest.clone()), "three");
    is_deleted(named, at);
    assert!(dbs[1].info(id).unwrap().moved, "nothing changed");
    assert_eq!(dbs[1].import(Cursor::new(newest.clone())).unwrap(), id);
    let kind = |result: Result<ObjectId>| match result.unwrap_err().kind() {
        ErrorKind::Storage(error) => error.kind().clone(),
        other => panic!("{other:?}"),
    };
    for (db, name) in dbs.iter().zip(["one", "two"]) {
        let info = db.info(id).unwrap();
        assert_eq!((info.deleted, info.moved, info.name), (Some(at), false, None));
        assert_eq!(db.find(name).unwrap(), None, "the name is free");
        is_deleted(db.call(id, "add", args![1u64]).wait(), at);
        let error = kind(db.import(Cursor::new(older.clone())));
        assert_eq!(error, storage::ErrorKind::HereAlready { seq: 2, found: 1, moved: false });
        let error = kind(db.import(Cursor::new(newest.clone())));
        assert_eq!(error, storage::ErrorKind::HereAlready { seq: 2, found: 2, moved: false });
        db.run_until(Time::from_millis(START + 5000)).unwrap();
        assert_eq!(db.info(id).unwrap().seq, 2, "it wakes no more");
        assert!(db.check(|_, _| {}).unwrap().is_sound());
        db.verify(id, Replay::Yes).unwrap();
    }
    // It continued elsewhere: that is another history, and not let in.
    let third = Fixture::new();
    let third = third.open();
    third.import(Cursor::new(older)).unwrap();
    third.call(id, "add", args![1u64]).wait().unwrap();
    let error = kind(dbs[0].import(Cursor::new(capsule(&third, id))));
    assert!(matches!(error, storage::ErrorKind::Diverged { seq: 2, .. }), "{error}");
    let error = kind(third.import(Cursor::new(newest)));
    assert!(matches!(error, storage::ErrorKind::Diverged { seq: 2, .. }), "{error}");
}

#[test]
fn a_backup_is_restored_to_before_a_deletion_and_behind_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(&owned()).name("one")).unwrap();
    let before = db.stats().unwrap().durable;
    delete(&db, id);
    let backup = fixture.directory.path().join("backup");
    db.backup(&backup, |_, _| {}).unwrap();
    for (until, name, deleted) in
        [(storage::Until::Position(before), Some(id), false), (storage::Until::End, None, true)]
    {
        let target = fixture.directory.path().join(format!("restored {deleted}"));
        storage::Options::new().restore(&backup, &target, until, |_, _| {}).unwrap();
        let restored = Database::open(&target).unwrap();
        assert_eq!(restored.find("one").unwrap(), name);
        assert_eq!(restored.info(id).unwrap().deleted.is_some(), deleted);
        assert!(restored.check(|_, _| {}).unwrap().is_sound());
    }
}

#[test]
fn deletions_are_counted_like_every_kind_of_version() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id =
        db.create(Code::wasm(continuant::samples::COUNTER).unwrap().policy(&*owned())).unwrap();
    delete(&db, id);
    let steps = db.metrics().steps;
    let deleted = steps.iter().find(|(kind, _)| *kind == Kind::Delete);
    assert_eq!(deleted.map(|(_, count)| count), Some(1));
}
