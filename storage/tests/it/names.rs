//! Lookups by text: an id, a name, or the beginning of an id; and texts that cannot be names.

use continuant_storage::{ErrorKind, Options, Resolved, Store};
use object::hash::ObjectId;
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, small};

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
