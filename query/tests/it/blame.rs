//! Blame: the version that gave a field its value, beside a walk over the model.

use std::sync::Arc;

use continuant_query::{TrailEnd, blame};
use object::hash::ObjectId;
use storage::ErrorKind;

use crate::shelf::{FIELDS, Shelf};

#[test]
fn the_newest_version_before_which_a_field_was_another_is_blamed() {
    let shelf = Shelf::of(3, 40);
    for book in &shelf.books {
        for path in FIELDS {
            let values: Vec<_> =
                book.versions.iter().map(|version| &version.fields[path]).collect();
            let changed = (1..values.len()).rev().find(|&seq| values[seq] != values[seq - 1]);
            let define = |_| Ok::<_, storage::Error>(Arc::clone(&shelf.definition));
            let found = blame(&shelf.store, define, book.id(), path).unwrap();
            let end = if changed.is_some() { TrailEnd::Changed } else { TrailEnd::Created };
            let seq = changed.unwrap_or(0) as u64;
            assert_eq!((found.entry.header.seq, found.end), (seq, end), "{path}");
            assert_eq!((found.object, found.kept), (book.id(), Vec::new()));
        }
    }
}

#[test]
fn a_field_that_no_version_wrote_is_of_the_first() {
    let shelf = Shelf::of(1, 30);
    let define = |_| Ok::<_, storage::Error>(Arc::clone(&shelf.definition));
    let found = blame(&shelf.store, define, shelf.books[0].id(), "never").unwrap();
    assert_eq!((found.entry.header.seq, found.end), (0, TrailEnd::Created));
}

#[test]
fn what_is_not_there_cannot_be_blamed() {
    let shelf = Shelf::of(1, 3);
    let define = |_| Ok::<_, storage::Error>(Arc::clone(&shelf.definition));
    let error = blame(&shelf.store, define, shelf.books[0].id(), "nothing").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Object(_)), "{error}");
    let error = blame(&shelf.store, define, ObjectId([9; 32]), "count").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
}
