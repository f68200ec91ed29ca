//! Appends: what is taken, and what is turned away without a trace.

use std::sync::mpsc::channel;

use continuant_storage::{Append, Change, ErrorKind, NewCommit, Store};
use tempfile::TempDir;

use crate::author::{Author, Made, append, small};

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    (directory, store)
}

#[test]
fn a_record_that_does_not_follow_its_object_is_a_conflict() {
    let (_directory, store) = store();
    let (mut author, genesis) = Author::new(1);
    let conflict = |made: &[Made]| {
        let error = append(&store, made, &[]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
    };
    let first = author.step();
    conflict(std::slice::from_ref(&first));
    append(&store, std::slice::from_ref(&genesis), &[]).unwrap();
    conflict(std::slice::from_ref(&genesis));
    append(&store, std::slice::from_ref(&first), &[]).unwrap();
    conflict(std::slice::from_ref(&first));
    let (refusal, second) = (author.refuse(), author.step());
    conflict(std::slice::from_ref(&second));
    conflict(&[second.clone(), refusal.clone()]);
    let (_, stranger) = Author::new(2);
    conflict(&[stranger.clone(), genesis]);
    assert_eq!(store.list(None, 10).unwrap().len(), 1, "a frame is all or nothing");
    append(&store, &[stranger, refusal, second], &[]).unwrap();
    assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
}

#[test]
fn names_are_bound_once() {
    let (_directory, store) = store();
    let (one, made_one) = Author::new(1);
    let (two, made_two) = Author::new(2);
    append(&store, &[made_one], &[("first", one.head.id)]).unwrap();
    for round in 0..2 {
        let taken = append(&store, std::slice::from_ref(&made_two), &[("first", two.head.id)]);
        let taken = taken.unwrap_err();
        let expected = ErrorKind::NameTaken { name: "first".to_string(), object: one.head.id };
        assert_eq!(taken.kind(), &expected, "round {round}: before and after it is in the index");
        for name in ["", "a\nb", &"x".repeat(257)] {
            let error = append(&store, std::slice::from_ref(&made_two), &[(name, two.head.id)]);
            let error = error.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Name { .. }), "{error}");
        }
        store.checkpoint().unwrap();
    }
    append(&store, &[made_two], &[("zweites, ünïcode", two.head.id)]).unwrap();
    assert_eq!(store.find("zweites, ünïcode").unwrap(), Some(two.head.id));
    assert_eq!(store.find("third").unwrap(), None);
}

#[test]
fn appends_of_many_threads_share_groups_and_each_is_told_once() {
    let (_directory, store) = store();
    let (sent, told) = channel();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, sent) = (&store, sent.clone());
            scope.spawn(move || {
                let (mut author, genesis) = Author::new(thread);
                append(store, &[genesis], &[]).unwrap();
                for _ in 0..50 {
                    let Made::Version { bytes, nonces, .. } = author.step() else { panic!() };
                    let commit = object::commit::Commit::decode(&bytes).unwrap();
                    let nonces = nonces.as_deref();
                    let (base, before) = (None, None);
                    let new = NewCommit { commit, base, nonces, before };
                    let append = Append { changes: vec![Change::Commit(new)], ..Append::default() };
                    let sent = sent.clone();
                    store.append(&append, move |result| sent.send(result).unwrap()).unwrap();
                }
            });
        }
    });
    drop(sent);
    store.sync().unwrap();
    assert_eq!(told.iter().map(Result::unwrap).count(), 400);
    let stats = store.stats().unwrap();
    assert_eq!(stats.frame_count, 408);
    assert!(stats.group_frames_max > 1, "{stats:?}");
}

#[test]
fn a_closed_store_takes_nothing_more() {
    let (_directory, store) = store();
    store.close().unwrap();
    store.close().unwrap();
    let error = append(&store, &[Author::new(1).1], &[]).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Closed);
    assert_eq!(store.sync().unwrap_err().kind(), &ErrorKind::Closed);
}
