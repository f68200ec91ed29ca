//! Snapshots: a version's fields and bytes, by its seq and as of a time.

use std::sync::Arc;

use continuant_query::Snapshot;
use object::ErrorKind;
use object::hash::MemoryRoot;
use object::time::Time;
use rand::RngExt;

use crate::shelf::Shelf;

#[test]
fn any_version_reads_as_it_was_written() {
    let shelf = Shelf::of(2, 30);
    for book in &shelf.books {
        for (seq, version) in book.versions.iter().enumerate() {
            let snapshot = shelf.at(book.id(), seq as u64);
            assert_eq!((snapshot.id(), snapshot.header().seq), (book.id(), seq as u64));
            for (path, value) in &version.fields {
                assert_eq!(snapshot.value(path).unwrap(), *value, "{path} of version {seq}");
            }
            let root = MemoryRoot(*blake3::hash(&snapshot.memory_bytes()).as_bytes());
            assert_eq!(root, snapshot.header().memory_root);
            assert_eq!(snapshot.hash(), snapshot.header().hash());
        }
        assert_eq!(shelf.at(book.id(), book.head.header.seq).hash(), book.head.hash);
    }
}

#[test]
fn as_of_a_time_is_the_newest_version_that_is_not_later() {
    let mut shelf = Shelf::of(2, 40);
    for _ in 0..200 {
        let index = shelf.rng.random_range(0..2);
        let versions = &shelf.books[index].versions;
        let (first, last) = (versions[0].time, versions.last().unwrap().time);
        let time = shelf.rng.random_range(first - 3000..last + 3000) / 500 * 500;
        let book = &shelf.books[index];
        let expected = book.versions.iter().rposition(|version| version.time <= time);
        let found = shelf.store.as_of(book.id(), Time::from_millis(time)).unwrap();
        assert_eq!(found.is_some(), expected.is_some(), "{time}");
        let (Some(found), Some(seq)) = (found, expected) else { continue };
        let header = found.commit.header().clone();
        let snapshot = Snapshot::new(Arc::clone(&shelf.definition), header, found.image);
        assert_eq!(snapshot.header().seq, seq as u64, "{time}");
        assert_eq!(snapshot.value("count").unwrap(), book.versions[seq].fields["count"]);
    }
}

#[test]
fn a_field_is_read_as_its_own_type_alone() {
    let shelf = Shelf::of(1, 3);
    let snapshot = shelf.at(shelf.books[0].id(), 2);
    snapshot.get::<u32>("level").unwrap();
    let error = snapshot.get::<u64>("level").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Value { .. }), "{error}");
    for path in ["nothing", "spot.nothing", "level.0"] {
        let error = snapshot.value(path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unknown { .. }), "{error}");
    }
}
