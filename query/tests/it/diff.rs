//! Diffs: of any two versions, beside the model's fields and the bytes of the memories.

use std::collections::BTreeMap;

use continuant_query::diff;
use object::ErrorKind;
use object::limits::PAGE_BYTES;
use rand::RngExt;

use crate::shelf::{FIELDS, Shelf};

#[test]
fn fields_and_pages_that_differ_are_those_of_the_model() {
    let mut shelf = Shelf::of(1, 40);
    let mut differed = 0;
    for _ in 0..300 {
        let [one, other] = [0; 2].map(|_| shelf.rng.random_range(0..40u64));
        let book = &shelf.books[0];
        let [before, after] = [one, other].map(|seq| shelf.at(book.id(), seq));
        let found = diff(&before, &after).unwrap();
        assert_eq!(found.object, book.id());
        let [old, new] = [one, other].map(|seq| &book.versions[seq as usize].fields);
        let expected: BTreeMap<&str, _> = FIELDS
            .into_iter()
            .filter(|path| old[path] != new[path])
            .map(|path| (path, (Some(old[path].clone()), Some(new[path].clone()))))
            .collect();
        let fields = found.fields.iter();
        let fields = fields.map(|it| (it.path.as_str(), (it.before.clone(), it.after.clone())));
        assert_eq!(fields.collect::<BTreeMap<_, _>>(), expected, "{one} and {other}");
        let [old, new] = [before, after].map(|snapshot| snapshot.memory_bytes());
        let pages = old.chunks(PAGE_BYTES).zip(new.chunks(PAGE_BYTES)).enumerate();
        let pages = pages.filter(|(_, (old, new))| old != new).map(|(index, _)| index as u32);
        assert_eq!(found.pages, pages.collect::<Vec<_>>(), "{one} and {other}");
        differed += found.fields.len();
    }
    assert!(differed > 100, "{differed}");
}

#[test]
fn changes_are_in_the_order_of_the_schema() {
    let shelf = Shelf::of(1, 40);
    let book = &shelf.books[0];
    for seq in 1..40 {
        let found = diff(&shelf.at(book.id(), 0), &shelf.at(book.id(), seq)).unwrap();
        let places = found.fields.iter().map(|it| FIELDS.iter().position(|path| *path == it.path));
        assert!(places.is_sorted(), "{found:?}");
    }
}

#[test]
fn versions_of_two_objects_have_no_difference() {
    let shelf = Shelf::of(2, 1);
    let [one, other] = [0, 1].map(|index| shelf.at(shelf.books[index].id(), 0));
    let error = diff(&one, &other).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Mismatch { what: "object", .. }), "{error}");
}
