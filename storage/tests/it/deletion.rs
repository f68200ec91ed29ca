//! Objects whose newest version is a deletion: nothing follows, however files come back.

use std::path::PathBuf;

use continuant_storage::{CapsuleReader, ErrorKind, Store};
use object::hash::ObjectId;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, reopen, small};

fn is_deleted<T>(result: continuant_storage::Result<T>, at: Time) {
    let Err(error) = result else { panic!("it is done") };
    assert_eq!(*error.kind(), ErrorKind::Deleted { at }, "{error}");
}

/// An object called "one" that was deleted, and its author before that.
fn deleted(store: &Store) -> (Author, Author) {
    let (mut author, genesis) = Author::new(1);
    append(store, &[genesis], &[("one", author.head.id)]).unwrap();
    append(store, &[author.step(), author.refuse()], &[]).unwrap();
    let before = author.twin();
    append(store, &[author.delete()], &[]).unwrap();
    (before, author)
}

fn exported(store: &Store, id: ObjectId) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.export(id, &mut bytes, |_, _| {}).unwrap();
    bytes
}

fn import(store: &Store, bytes: &[u8], author: &Author) -> continuant_storage::Result<ObjectId> {
    let mut reader = CapsuleReader::new(bytes).unwrap();
    while reader.next().unwrap().is_some() {}
    store.import(bytes, &author.head, reader.seal().unwrap())
}

#[test]
fn nothing_follows_a_deletion_here_or_in_what_is_left_of_the_files() {
    let directory = TempDir::new().unwrap();
    let mut path: PathBuf = directory.path().join("db");
    let mut store = small().open(&path).unwrap();
    let frames = store.figures().frame_count;
    let (mut before, author) = deleted(&store);
    assert_eq!(store.figures().frame_count, frames + 3, "the name goes in the same frame");
    let (id, at) = (author.head.id, author.head.header.time);
    for crashed in [true, false, true] {
        let info = store.info(id).unwrap().unwrap();
        assert_eq!((info.deleted, info.name, info.wake, info.seq), (Some(at), None, None, 2));
        assert_eq!(store.find("one").unwrap(), None);
        assert_eq!(store.head(id).unwrap().unwrap().head, author.head);
        for made in [before.twin().step(), before.twin().refuse()] {
            is_deleted(append(&store, &[made], &[]), at);
        }
        is_deleted(store.set_name(id, "two", at), at);
        is_deleted(store.set_moved(id, true), at);
        let (other, genesis) = Author::new(2);
        is_deleted(append(&store, &[genesis], &[("two", id)]), at);
        assert!(store.info(other.head.id).unwrap().is_none(), "all or nothing");
        assert_sound(&store);
        assert_eq!(store.check(|_, _| {}).unwrap().deleted_count, 1);
        store = reopen(store, &mut path, crashed);
    }
}

#[test]
fn a_deletion_and_more_of_the_object_are_never_one_frame() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let mut twin = author.twin();
    let (end, at): (Made, Time) = (author.delete(), author.head.header.time);
    is_deleted(append(&store, &[end.clone(), twin.step()], &[]), at);
    is_deleted(append(&store, std::slice::from_ref(&end), &[("late", author.head.id)]), at);
    assert_eq!(store.info(author.head.id).unwrap().unwrap().deleted, None, "nothing of it");
    let (other, genesis) = Author::new(2);
    append(&store, &[end, genesis], &[("late", other.head.id)]).unwrap();
    assert_sound(&store);
}

#[test]
fn a_capsule_of_it_takes_its_name_where_it_comes_back() {
    let directory = TempDir::new().unwrap();
    let [from, to] = ["from", "to"].map(|name| small().open(directory.path().join(name)).unwrap());
    let (mut author, genesis) = Author::new(1);
    append(&from, &[genesis], &[]).unwrap();
    let (older, oldest) = (exported(&from, author.head.id), author.twin());
    import(&to, &older, &oldest).unwrap();
    let (id, at) = (author.head.id, author.head.header.time);
    to.set_name(id, "here", at).unwrap();
    to.set_moved(id, true).unwrap();
    append(&from, &[author.step(), author.delete()], &[]).unwrap();
    let at = author.head.header.time;
    let newest = exported(&from, id);
    import(&to, &newest, &author).unwrap();
    let info = to.info(id).unwrap().unwrap();
    assert_eq!((info.deleted, info.moved, info.name), (Some(at), false, None));
    assert_eq!(to.find("here").unwrap(), None);
    let history: Vec<_> = to.name_history("here").unwrap().map(|it| it.unwrap()).collect();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].until.unwrap().time, at);
    for (bytes, author, found) in [(&older, &oldest, 0), (&newest, &author, 2)] {
        let error = import(&to, bytes, author).unwrap_err();
        let expected = ErrorKind::HereAlready { seq: 2, found, moved: false };
        assert_eq!(*error.kind(), expected);
    }
    assert_sound(&to);
    let path = directory.path().join("to");
    drop(to);
    continuant_storage::Options::new().rebuild_index(&path).unwrap();
    let to = small().open(&path).unwrap();
    assert_eq!(to.info(id).unwrap().unwrap().deleted, Some(at));
    assert_sound(&to);
}
