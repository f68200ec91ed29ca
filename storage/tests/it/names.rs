//! Lookups by text: an id, a name, or the beginning of an id; and texts that cannot be names.

use std::path::PathBuf;

use continuant_storage::{ErrorKind, NameHolding, Options, Resolved, Retention, Store, Until};
use object::hash::ObjectId;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, reopen, small};

fn begin(store: &Store, seed: u64, names: &[&str]) -> continuant_storage::Result<ObjectId> {
    let (author, genesis) = Author::new(seed);
    let names: Vec<_> = names.iter().map(|name| (*name, author.head.id)).collect();
    append(store, &[genesis], &names).map(|()| author.head.id)
}

#[test]
fn a_name_is_no_id_and_begins_none() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let one = begin(&store, 1, &[]).unwrap();
    let text = one.to_string();
    for round in 0..2 {
        for name in [&text[..4], &text[..63], &text.to_uppercase()[..8]] {
            let error = begin(&store, 2, &[name]).unwrap_err();
            let expected = ErrorKind::NameIsId { name: name.to_string(), other: Some(one) };
            assert_eq!(*error.kind(), expected, "round {round}");
        }
        for name in [&text[..], &"0".repeat(64)] {
            let error = begin(&store, 2, &[name]).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::NameIsId { .. }), "{error}");
        }
        // The same from the index.
        store.checkpoint().unwrap();
    }
    let two = begin(&store, 2, &[&text[..3]]).unwrap();
    assert_eq!(store.resolve(&text[..3]).unwrap(), Resolved::Object(two));
    let (three, genesis) = Author::new(3);
    let own = &three.head.id.to_string()[..10];
    append(&store, &[genesis], &[(own, three.head.id)]).unwrap();
    assert_eq!(store.resolve(own).unwrap(), Resolved::Object(three.head.id), "its own id");
    assert!(store.doubtful_names(10).unwrap().is_empty());
    assert_sound(&store);
}

#[test]
fn a_text_that_stands_for_two_stands_for_neither() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let late = Author::new(2).0.head.id.to_string();
    let one = begin(&store, 1, &[&late[..8]]).unwrap();
    assert_eq!(store.resolve(&late[..8]).unwrap(), Resolved::Object(one));
    assert_eq!(store.resolve(&late[..9]).unwrap(), Resolved::Nothing);
    let two = begin(&store, 2, &[]).unwrap();
    let compare = |store: &Store| {
        let both = Resolved::Doubtful { named: Some(one), beginning: vec![two] };
        assert_eq!(store.resolve(&late[..8]).unwrap(), both);
        for text in [&late[..7], &late[..9], &late[..], &late.to_uppercase()] {
            assert_eq!(store.resolve(text).unwrap(), Resolved::Object(two));
        }
        let doubtful = store.doubtful_names(10).unwrap();
        assert_eq!(doubtful.len(), 1);
        assert_eq!((doubtful[0].object, doubtful[0].other), (one, Some(two)));
        let report = store.check(|_, _| {}).unwrap();
        assert!(report.is_sound(), "a doubtful name is no damage: {:?}", report.damage);
        assert_eq!(report.doubtful_names, doubtful);
    };
    compare(&store);
    store.close().unwrap();
    drop(store);
    Options::new().rebuild_index(&path).unwrap();
    compare(&small().open(&path).unwrap());
}

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

/// The holders of a name, newest first, with the times at which they got it and had it no more.
fn holders(store: &Store, name: &str) -> Vec<(ObjectId, u64, Option<u64>)> {
    let all: Vec<NameHolding> = store.name_history(name).unwrap().map(Result::unwrap).collect();
    let places = all.iter().flat_map(|it| [it.until.map(|it| it.position), Some(it.from.position)]);
    let places: Vec<_> = places.flatten().collect();
    assert!(places.is_sorted_by(|later, earlier| later >= earlier), "{all:?}");
    let millis = |time: Time| time.as_millis();
    let holder = |it: &NameHolding| {
        (it.object, millis(it.from.time), it.until.map(|until| millis(until.time)))
    };
    all.iter().map(holder).collect()
}

/// Opens the database again after a crash, without its index, and compacted.
fn everywhere(store: Store, path: &mut PathBuf, check: &dyn Fn(&Store)) -> Store {
    check(&store);
    store.checkpoint().unwrap();
    check(&store);
    let store = reopen(store, path, true);
    check(&store);
    let store = reopen(store, path, false);
    check(&store);
    store.set_retention(None, Retention::Versions(1)).unwrap();
    store.compact_all(Time::MAX, |_, _| {}).unwrap();
    check(&store);
    assert_sound(&store);
    let store = reopen(store, path, false);
    check(&store);
    assert_sound(&store);
    store
}

#[test]
fn names_change_hands_in_one_frame_and_their_history_stays() {
    let directory = TempDir::new().unwrap();
    let mut path = directory.path().join("db");
    let store = small().recent_rows_max(2).open(&path).unwrap();
    let (one, two) = (begin(&store, 1, &["a"]).unwrap(), begin(&store, 2, &["b"]).unwrap());
    let created = |id: ObjectId| store.info(id).unwrap().unwrap().created.as_millis();
    let (one_created, two_created) = (created(one), created(two));
    let frames = store.figures().frame_count;
    assert_eq!(store.set_name(one, "c", at(10)).unwrap().as_deref(), Some("a"));
    assert_eq!(store.move_name("c", two, at(20)).unwrap(), one);
    assert_eq!(store.free_name("c", at(30)).unwrap(), two);
    assert_eq!(store.set_name(two, "a", at(40)).unwrap(), None);
    assert_eq!(store.figures().frame_count, frames + 4, "a frame each");
    let check = move |store: &Store| {
        let found = ["a", "b", "c", "d"].map(|name| store.find(name).unwrap());
        assert_eq!(found, [Some(two), None, None, None]);
        let names = [one, two].map(|id| store.info(id).unwrap().unwrap().name);
        assert_eq!(names, [None, Some("a".to_string())]);
        assert_eq!(store.named("", None).unwrap(), [two]);
        assert_eq!(holders(store, "a"), [(two, 40, None), (one, one_created, Some(10))]);
        assert_eq!(holders(store, "b"), [(two, two_created, Some(20))]);
        assert_eq!(holders(store, "c"), [(two, 20, Some(30)), (one, 10, Some(20))]);
        assert_eq!(holders(store, "d"), []);
        assert_eq!(store.resolve("c").unwrap(), Resolved::Nothing);
    };
    let store = everywhere(store, &mut path, &check);
    // A backup, and a database of it.
    let backup = directory.path().join("backup");
    store.backup(&backup, |_, _| {}).unwrap();
    let restored = directory.path().join("restored");
    small().restore(&backup, &restored, Until::End, |_, _| {}).unwrap();
    check(&small().open(&restored).unwrap());
}

#[test]
fn a_name_is_restored_to_whom_had_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (one, two) = (begin(&store, 1, &["a"]).unwrap(), begin(&store, 2, &["b"]).unwrap());
    let before = store.stats().unwrap().durable;
    store.move_name("a", two, at(5)).unwrap();
    let backup = directory.path().join("backup");
    store.backup(&backup, |_, _| {}).unwrap();
    let expected = [(Until::Position(before), Some(one), Some(two)), (Until::End, Some(two), None)];
    for (index, (until, a, b)) in expected.into_iter().enumerate() {
        let target = directory.path().join(index.to_string());
        small().restore(&backup, &target, until, |_, _| {}).unwrap();
        let restored = small().open(&target).unwrap();
        assert_eq!(["a", "b"].map(|name| restored.find(name).unwrap()), [a, b]);
        assert_sound(&restored);
    }
}

#[test]
fn a_change_of_names_that_cannot_be_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (one, two) = (begin(&store, 1, &["a"]).unwrap(), begin(&store, 2, &["b"]).unwrap());
    let nobody = ObjectId([9; 32]);
    let digits = &two.to_string()[..8];
    let frames = store.figures().frame_count;
    let taken = ErrorKind::NameTaken { name: "b".to_string(), object: two };
    assert_eq!(*store.set_name(one, "b", at(1)).unwrap_err().kind(), taken);
    let is_id = ErrorKind::NameIsId { name: digits.to_string(), other: Some(two) };
    assert_eq!(*store.set_name(one, digits, at(1)).unwrap_err().kind(), is_id);
    let missing = |error: continuant_storage::Error| {
        assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
    };
    missing(store.set_name(nobody, "c", at(1)).unwrap_err());
    missing(store.move_name("c", one, at(1)).unwrap_err());
    missing(store.move_name("a", nobody, at(1)).unwrap_err());
    missing(store.free_name("c", at(1)).unwrap_err());
    for name in ["", "a\nb", &"x".repeat(257)] {
        let error = store.set_name(one, name, at(1)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Name { .. }), "{error}");
    }
    // Nothing changes that is so already.
    assert_eq!(store.set_name(one, "a", at(1)).unwrap().as_deref(), Some("a"));
    assert_eq!(store.move_name("a", one, at(1)).unwrap(), one);
    assert_eq!(store.figures().frame_count, frames, "nothing is on record");
    assert_eq!(["a", "b"].map(|name| store.find(name).unwrap()), [Some(one), Some(two)]);
    // The beginning of its own id may be its name, and nobody else's.
    store.set_name(two, digits, at(1)).unwrap();
    assert!(matches!(
        store.move_name(digits, one, at(1)).unwrap_err().kind(),
        ErrorKind::NameIsId { .. }
    ));
    assert_sound(&store);
}

#[test]
fn a_name_that_many_ask_for_at_once_is_of_one_and_no_name_is_lost() {
    let directory = TempDir::new().unwrap();
    let store = small().recent_rows_max(3).open(directory.path().join("db")).unwrap();
    let ids: Vec<_> = (0..4).map(|seed| begin(&store, seed, &[]).unwrap()).collect();
    store.set_name(ids[0], "ring", at(0)).unwrap();
    let shared = &store;
    std::thread::scope(|scope| {
        for id in &ids {
            scope.spawn(move || {
                for round in 0..50 {
                    shared.move_name("ring", *id, at(round)).unwrap();
                    if round % 10 == 0 {
                        shared.checkpoint().unwrap();
                    }
                }
            });
        }
    });
    let holder = store.find("ring").unwrap().unwrap();
    let named: Vec<_> =
        store.list(None, 9).unwrap().into_iter().filter(|it| it.name.is_some()).collect();
    assert_eq!(named.iter().map(|it| it.id).collect::<Vec<_>>(), [holder]);
    let history = holders(&store, "ring");
    assert_eq!(history[0].0, holder);
    assert!(history.windows(2).all(|pair| pair[0].0 != pair[1].0), "each had it from another");
    assert_sound(&store);
}
