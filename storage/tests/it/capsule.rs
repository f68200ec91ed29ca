//! Capsules: an object out of one store and into another, whole or not at all.

use continuant_storage::{CapsuleReader, ErrorKind, Result, Seal, Store};
use object::capsule::SectionKind;
use object::hash::ObjectId;
use object::head::Head;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, append, copy, small};

fn lived(store: &Store, seed: u64) -> Author {
    let (mut author, genesis) = Author::upgrading(seed);
    append(store, &[genesis], &[]).unwrap();
    for _ in 0..30 {
        append(store, &[author.next()], &[]).unwrap();
    }
    author
}

fn export(store: &Store, id: ObjectId) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), (0, 1));
    store.export(id, &mut bytes, |done, all| last = (done, all)).unwrap();
    assert_eq!(last.0, last.1, "progress ends at the end");
    bytes
}

/// Reads a capsule to its end.
fn read(bytes: &[u8]) -> Result<(Vec<SectionKind>, Seal)> {
    let mut reader = CapsuleReader::new(bytes)?;
    let mut kinds = Vec::new();
    while let Some((kind, _)) = reader.next()? {
        kinds.push(kind);
    }
    Ok((kinds, reader.seal().expect("the end was read")))
}

fn import(store: &Store, bytes: &[u8], head: &Head) -> Result<ObjectId> {
    let (_, seal) = read(bytes)?;
    store.import(bytes, head, seal)
}

#[test]
fn an_object_is_the_same_in_another_store() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let path = directory.path().join("two");
    let two = small().open(&path).unwrap();
    let mut author = lived(&one, 4);
    let id = author.head.id;
    let bytes = export(&one, id);
    assert_eq!(import(&two, &bytes, &author.head).unwrap(), id);
    let error = import(&two, &bytes, &author.head).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    let crashed = small().open(&crashed).unwrap();
    append(&two, &[author.step()], &[]).unwrap();
    append(&crashed, &[author_again(&two, id)], &[]).unwrap_err();
    drop(two);
    let two = small().open(&path).unwrap();
    assert_eq!(two.head(id).unwrap().unwrap().head, author.head);
    assert!(two.check(|_, _| {}).unwrap().is_sound());
    assert!(crashed.check(|_, _| {}).unwrap().is_sound());
    assert_eq!(export(&crashed, id), bytes, "recovery finds what was imported");
    std::fs::remove_file(path.join("index.redb")).unwrap_or_default();
}

/// A genesis that is in the store already.
fn author_again(store: &Store, id: ObjectId) -> crate::author::Made {
    let genesis = store.version(id, 0).unwrap().unwrap();
    let mut bytes = Vec::new();
    genesis.complete().encode_into(&mut bytes);
    let before = genesis.image;
    crate::author::Made::Version { bytes, ledger: None, begins: true, before }
}

#[test]
fn a_capsule_has_each_part_once_before_the_record_that_needs_it() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(7);
    let (one, two) = (author.step(), author.upgrade());
    let made = [genesis, one, two, author.refuse(), author.step(), author.upgrade()];
    append(&store, &made, &[]).unwrap();
    append(&store, &[author.step(), author.upgrade()], &[]).unwrap();
    let bytes = export(&store, author.head.id);
    let (kinds, _) = read(&bytes).unwrap();
    use SectionKind::*;
    let first = [Code, Policy, Base, Commit, Commit];
    let second = [Code, Base, Commit, Refusal, Commit];
    let back_and_there = [Commit, Commit, Commit, End];
    assert_eq!(kinds, [&first[..], &second, &back_and_there].concat());
    let other = small().open(directory.path().join("other")).unwrap();
    import(&other, &bytes, &author.head).unwrap();
    assert_eq!(export(&other, author.head.id), bytes);
    append(&other, &[author.step()], &[]).unwrap();
    assert!(other.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn an_import_that_fails_on_the_way_leaves_no_object() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let path = directory.path().join("two");
    let two = small().open(&path).unwrap();
    let author = lived(&one, 4);
    let bytes = export(&one, author.head.id);
    let (_, seal) = read(&bytes).unwrap();
    let cut = &bytes[..bytes.len() - 40];
    assert!(two.import(cut, &author.head, seal).is_err());
    let other = lived(&one, 5);
    assert!(two.import(&export(&one, other.head.id)[..], &author.head, seal).is_err());
    assert_eq!(two.head(author.head.id).unwrap().map(|_| ()), None);
    assert!(two.check(|_, _| {}).unwrap().is_sound());
    drop(two);
    let two = small().open(&path).unwrap();
    assert_eq!(two.list(None, 10).unwrap(), []);
    import(&two, &bytes, &author.head).unwrap();
    assert_eq!(export(&two, author.head.id), bytes);
    assert!(two.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn every_changed_or_missing_byte_is_found() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let author = lived(&store, 9);
    let bytes = export(&store, author.head.id);
    let (kinds, _) = read(&bytes).unwrap();
    assert_eq!(kinds.last(), Some(&SectionKind::End));
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..2000 {
        let at = rng.random_range(0..bytes.len());
        let mut changed = bytes.clone();
        changed[at] ^= [0x01, 0x80, 0xff][rng.random_range(0..3)];
        assert!(read(&changed).is_err(), "seed {seed}: byte {at}");
        assert!(read(&bytes[..at]).is_err(), "seed {seed}: cut at {at}");
    }
    let longer = [&bytes[..], b"x"].concat();
    let error = read(&longer).unwrap_err();
    let ErrorKind::Capsule { offset, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*offset, bytes.len() as u64);
}

#[test]
fn an_index_that_is_written_during_an_import_has_its_blobs() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let path = directory.path().join("two");
    let two = small().tail_bytes_max(1).open(&path).unwrap();
    let author = lived(&one, 4);
    import(&two, &export(&one, author.head.id), &author.head).unwrap();
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    for path in [crashed, path] {
        let store = match path.ends_with("two") {
            true => None,
            false => Some(small().open(path).unwrap()),
        };
        let store = store.as_ref().unwrap_or(&two);
        assert!(store.code(author.head.header.code).unwrap().is_some());
        assert!(store.policy(author.head.header.policy).unwrap().is_some());
        assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
        assert!(store.check(|_, _| {}).unwrap().is_sound());
    }
}
