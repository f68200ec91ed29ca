//! Lists of objects, beside the model.

use continuant_query::Objects;
use object::hash::{CodeHash, ObjectId};
use object::time::Time;
use rand::RngExt;

use crate::shelf::{Book, Shelf};

fn ids(objects: Objects<'_>) -> Vec<ObjectId> {
    objects.map(|info| info.unwrap().id).collect()
}

fn sorted<'b>(books: impl Iterator<Item = &'b Book>) -> Vec<ObjectId> {
    let mut ids: Vec<ObjectId> = books.map(Book::id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn objects_are_listed_by_name_age_and_code() {
    let mut shelf = Shelf::of(24, 4);
    let books = || shelf.books.iter();
    let all = || Objects::new(&shelf.store);
    assert_eq!(ids(all()), sorted(books()));
    for prefix in ["even/", "odd/", "odd/1", "none"] {
        let named = books().filter(|book| book.name.starts_with(prefix));
        assert_eq!(ids(all().named(prefix)), sorted(named), "{prefix}");
    }
    let code = shelf.definition.code.hash;
    assert_eq!(ids(all().code(code)), sorted(books()));
    assert_eq!(ids(all().code(CodeHash([9; 32]))), []);
    for _ in 0..50 {
        let book = &shelf.books[shelf.rng.random_range(0..24)];
        let (created, changed) = (book.versions[0].time, book.versions.last().unwrap().time);
        let first = |book: &&Book| book.versions[0].time;
        let last = |book: &&Book| book.versions.last().unwrap().time;
        let books = || shelf.books.iter();
        let all = || Objects::new(&shelf.store);
        let since = books().filter(|book| first(book) >= created);
        assert_eq!(ids(all().created_since(Time::from_millis(created))), sorted(since));
        let until = books().filter(|book| first(book) <= created);
        assert_eq!(ids(all().created_until(Time::from_millis(created))), sorted(until));
        let since = books().filter(|book| last(book) >= changed);
        assert_eq!(ids(all().changed_since(Time::from_millis(changed))), sorted(since));
        let until = books().filter(|book| last(book) <= changed);
        assert_eq!(ids(all().changed_until(Time::from_millis(changed))), sorted(until));
    }
}

#[test]
fn a_list_goes_on_where_another_ended() {
    let shelf = Shelf::of(17, 1);
    for named in ["", "even/"] {
        let whole = ids(Objects::new(&shelf.store).named(named));
        let (mut pages, mut last) = (Vec::new(), None);
        loop {
            let page = ids(Objects::new(&shelf.store).named(named).after(last).limit(5));
            assert!(page.len() <= 5);
            let Some(end) = page.last() else { break };
            last = Some(*end);
            pages.extend(page);
        }
        assert_eq!(pages, whole);
    }
}
