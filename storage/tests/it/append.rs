//! Appends: accepted ones, and ones that are refused without a trace.

use std::sync::mpsc::channel;

use continuant_storage::{ErrorKind, Result, Retention, Store};
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, in_one_frame, small};

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
fn one_frame_binds_a_name_once_and_an_object_to_one_name() {
    let (_directory, store) = store();
    let ((one, made_one), (two, made_two)) = (Author::new(1), Author::new(2));
    let (one, two, made) = (one.head.id, two.head.id, [made_one, made_two]);
    for (names, name, object) in [
        ([("first", one), ("first", two)], "first", one),
        ([("first", one), ("second", one)], "second", one),
    ] {
        let taken = append(&store, &made, &names).unwrap_err();
        let expected = ErrorKind::NameTaken { name: name.to_string(), object };
        assert_eq!(taken.kind(), &expected);
        assert!(store.list(None, 1).unwrap().is_empty(), "a frame is all or nothing");
    }
    append(&store, &made, &[("second", two), ("first", one)]).unwrap();
    assert_eq!(store.find("first").unwrap(), Some(one));
    let listed = store.list(None, 2).unwrap();
    let names = |id| listed.iter().find(|info| info.id == id).unwrap().name.as_deref();
    assert_eq!((names(one), names(two)), (Some("first"), Some("second")));
    assert_sound(&store);
}

/// A row that was changed meanwhile is looked up again, wherever it is then.
#[test]
fn rules_that_are_set_while_objects_go_on_are_kept_beside_their_versions() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().recent_rows_max(2).open(&path).unwrap();
    let mut authors: Vec<_> = (0..4).map(Author::new).collect();
    let ids: Vec<_> = authors.iter().map(|(author, _)| author.head.id).collect();
    for (_, genesis) in &authors {
        append(&store, std::slice::from_ref(genesis), &[]).unwrap();
    }
    std::thread::scope(|scope| {
        for (author, _) in &mut authors {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..200 {
                    let step = [author.step()];
                    in_one_frame(&step, &[], |append| store.append(append, drop)).unwrap();
                }
            });
        }
        for count in 1..=50 {
            for id in &ids {
                store.set_retention(Some(*id), Retention::Versions(count)).unwrap();
            }
            store.set_retention(None, Retention::Versions(count)).unwrap();
        }
    });
    for (author, _) in &authors {
        assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
        let rule = store.retention(Some(author.head.id)).unwrap();
        assert_eq!(rule, Retention::Versions(50));
    }
    assert_eq!(store.retention(None).unwrap(), Retention::Versions(50));
    assert_sound(&store);
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
                    let sent = sent.clone();
                    let done = move |result| sent.send(result).unwrap();
                    let step = [author.step()];
                    in_one_frame(&step, &[], |append| store.append(append, done)).unwrap();
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
fn commits_syncs_and_appends_of_many_threads_are_durable_when_they_say_so() {
    let (_directory, store) = store();
    let (sent, told) = channel();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (store, sent) = (&store, sent.clone());
            scope.spawn(move || {
                let (mut author, genesis) = Author::new(thread);
                append(store, &[genesis], &[]).unwrap();
                for step in 0..60 {
                    let made = [author.step()];
                    let position = in_one_frame(&made, &[], |append| match step % 3 {
                        0 => store.commit(append),
                        _ => {
                            let sent = sent.clone();
                            let done = move |result: Result<()>| {
                                sent.send((thread, step, result.is_ok())).unwrap();
                            };
                            store.append(append, done)
                        }
                    });
                    let position = position.unwrap();
                    match step % 3 {
                        1 => {}
                        2 => store.sync().unwrap(),
                        _ => assert!(position < store.stats().unwrap().durable),
                    }
                }
            });
        }
    });
    drop(sent);
    store.sync().unwrap();
    let mut last = [0; 6];
    let mut count = 0;
    for (thread, step, is_durable) in told {
        assert!(is_durable);
        assert!(step > std::mem::replace(&mut last[thread as usize], step), "in order");
        count += 1;
    }
    assert_eq!((count, store.stats().unwrap().frame_count), (240, 366));
}

#[test]
fn an_object_of_which_the_index_was_written_goes_on_from_memory_and_from_the_index() {
    let directory = TempDir::new().unwrap();
    // With two rows in memory, most appends follow one that only the index has.
    for rows_max in [2, 64] {
        let path = directory.path().join(rows_max.to_string());
        let options = || small().recent_rows_max(rows_max);
        let store = options().open(&path).unwrap();
        let (mut authors, made): (Vec<_>, Vec<_>) = (0..20).map(Author::new).unzip();
        made.into_iter().for_each(|made| append(&store, &[made], &[]).unwrap());
        for round in 0..30 {
            for author in authors.iter_mut().skip(round % 3).step_by(1 + round % 4) {
                in_one_frame(&[author.next()], &[], |append| store.commit(append)).unwrap();
            }
            if round % 5 == 0 {
                store.checkpoint().unwrap();
            }
        }
        let wakes = |store: &Store| store.wakes_until(Time::MAX).unwrap();
        let mut expected: Vec<_> = authors
            .iter()
            .filter_map(|author| Some((author.head.header.wake?, author.head.id)))
            .collect();
        expected.sort_unstable();
        assert_eq!(wakes(&store), expected);
        assert!(store.check(|_, _| {}).unwrap().is_sound());
        store.close().unwrap();
        drop(store);
        let store = options().open(&path).unwrap();
        assert_eq!(wakes(&store), expected, "the index has no wakes from before");
        for author in &authors {
            assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
        }
        assert!(store.check(|_, _| {}).unwrap().is_sound());
    }
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
