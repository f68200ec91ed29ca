//! Histories: what is selected, in which order, beside the model's versions and refusals.

use continuant_query::{Entry, EntryPlace, History};
use object::hash::ObjectId;
use object::input::Request;
use object::time::Time;
use rand::RngExt;
use storage::ErrorKind;

use crate::shelf::{Book, Shelf};

/// A version by its seq, or a refusal by its detail, with its time.
#[derive(Clone, Debug, PartialEq)]
enum Line {
    Version(u64, u64),
    Refusal(String, u64),
}

/// The lines of the model whose versions are in `seqs`: each version, and the refusals behind it.
fn expected(book: &Book, seqs: std::ops::Range<usize>) -> Vec<Line> {
    let mut lines = Vec::new();
    for (seq, version) in book.versions.iter().enumerate().filter(|(seq, _)| seqs.contains(seq)) {
        lines.push(Line::Version(seq as u64, version.time));
        let refused = version.refused.iter();
        lines.extend(refused.map(|detail| Line::Refusal(detail.clone(), version.time)));
    }
    lines
}

fn line(entry: Entry) -> Line {
    match entry {
        Entry::Version(version) => {
            Line::Version(version.header.seq, version.header.time.as_millis())
        }
        Entry::Refusal(refused) => {
            let time = refused.input.time.as_millis();
            Line::Refusal(refused.refusal.verdict.detail.clone(), time)
        }
    }
}

fn lines(history: History<'_>) -> Vec<Line> {
    history.map(|entry| line(entry.unwrap())).collect()
}

fn is_refusal(line: &Line) -> bool {
    matches!(line, Line::Refusal(..))
}

#[test]
fn all_entries_come_oldest_first() {
    let shelf = Shelf::of(3, 40);
    for book in &shelf.books {
        let all = expected(book, 0..usize::MAX);
        assert!(all.iter().any(is_refusal), "some are drawn");
        assert_eq!(lines(History::new(&shelf.store, book.id())), all);
    }
}

#[test]
fn versions_come_newest_first_without_refusals() {
    let shelf = Shelf::of(2, 30);
    for book in &shelf.books {
        let mut versions = expected(book, 0..usize::MAX);
        versions.retain(|line| !is_refusal(line));
        versions.reverse();
        assert_eq!(lines(History::new(&shelf.store, book.id()).backwards()), versions);
    }
}

#[test]
fn refusals_alone_come_in_both_directions() {
    let shelf = Shelf::of(2, 40);
    for book in &shelf.books {
        let mut refusals = expected(book, 0..usize::MAX);
        refusals.retain(is_refusal);
        assert_eq!(lines(History::new(&shelf.store, book.id()).refused()), refusals);
        refusals.reverse();
        assert_eq!(lines(History::new(&shelf.store, book.id()).refused().backwards()), refusals);
    }
}

#[test]
fn a_range_of_time_holds_both_its_ends() {
    let mut shelf = Shelf::of(2, 40);
    for _ in 0..100 {
        let book = &shelf.books[shelf.rng.random_range(0..2)];
        let (first, last) = (book.versions[0].time, book.versions.last().unwrap().time);
        // Often just a version's time, or beside one.
        let since = shelf.rng.random_range(first - 2..last + 3) / 500 * 500;
        let until = since + shelf.rng.random_range(0..6) * 500;
        let mut within = expected(book, 0..usize::MAX);
        within.retain(|line| {
            let (Line::Version(_, time) | Line::Refusal(_, time)) = line;
            (since..=until).contains(time)
        });
        let history = || {
            History::new(&shelf.store, book.id())
                .since(Time::from_millis(since))
                .until(Time::from_millis(until))
        };
        assert_eq!(lines(history()), within, "{since} to {until}");
        within.retain(is_refusal);
        assert_eq!(lines(history().refused()), within, "{since} to {until}");
    }
}

#[test]
fn a_range_of_versions_has_the_refusals_behind_them() {
    let mut shelf = Shelf::of(1, 40);
    for _ in 0..60 {
        let book = &shelf.books[0];
        let start = shelf.rng.random_range(0..42);
        let end = start + shelf.rng.random_range(0..10);
        let found = lines(History::new(&shelf.store, book.id()).seqs(start as u64..end as u64));
        assert_eq!(found, expected(book, start..end), "{start} to {end}");
    }
}

#[test]
fn a_limit_cuts_the_end_that_would_come_last() {
    let shelf = Shelf::of(1, 30);
    let book = &shelf.books[0];
    let all = expected(book, 0..usize::MAX);
    let refusals: Vec<Line> = all.iter().filter(|line| is_refusal(line)).cloned().collect();
    for count in [0, 1, 2, all.len(), all.len() + 1] {
        let history = || History::new(&shelf.store, book.id()).limit(count);
        assert_eq!(lines(history()), all[..count.min(all.len())]);
        assert_eq!(lines(history().refused()), refusals[..count.min(refusals.len())]);
        let newest = lines(history().backwards());
        assert_eq!(newest.len(), count.min(book.versions.len()));
    }
}

#[test]
fn pages_of_any_size_are_the_whole_list_in_either_direction() {
    let shelf = Shelf::of(1, 80);
    let book = &shelf.books[0];
    let history = |refused: bool, backwards: bool| {
        let history = History::new(&shelf.store, book.id());
        let history = if refused { history.refused() } else { history };
        if backwards { history.backwards() } else { history }
    };
    for (refused, backwards) in [(false, false), (false, true), (true, false), (true, true)] {
        let all: Vec<Entry> = history(refused, backwards).map(Result::unwrap).collect();
        let mut places: Vec<EntryPlace> = all.iter().map(Entry::place).collect();
        if backwards {
            places.reverse();
        }
        assert!(places.len() > 5 && places.is_sorted_by(|one, next| one < next), "{places:?}");
        for count in 1..6 {
            let (mut paged, mut last) = (Vec::new(), None);
            loop {
                let page = history(refused, backwards).after(last).limit(count);
                let page: Vec<Entry> = page.map(Result::unwrap).collect();
                assert!(page.len() <= count);
                let Some(entry) = page.last() else { break };
                last = Some(entry.place());
                paged.extend(page);
            }
            assert_eq!(paged, all, "refused {refused}, backwards {backwards}, by {count}");
        }
    }
}

#[test]
fn an_entry_has_its_payloads_and_what_it_was_under() {
    let shelf = Shelf::of(1, 30);
    let book = &shelf.books[0];
    let parts = shelf.definition.parts();
    let (mut number, mut seq) = (0, 0);
    for entry in History::new(&shelf.store, book.id()) {
        let entry = entry.unwrap();
        assert_eq!(entry.under(), (parts.code, parts.policy));
        match &entry {
            Entry::Version(version) => {
                seq = version.header.seq;
                let payloads = version.payloads.as_ref().unwrap();
                assert_eq!(version.hash, version.header.hash());
                assert_eq!(payloads.input.time, entry.time());
                assert_eq!(payloads.admission.rules.len(), usize::from(seq > 0));
                let is_write = matches!(payloads.input.request, Request::Write { .. });
                assert_eq!(is_write, seq > 0);
            }
            Entry::Refusal(refused) => {
                number += 1;
                assert_eq!((refused.number, refused.refusal.seq), (number, seq + 1));
            }
        }
    }
    assert_eq!(number, book.head.refusal_count);
}

#[test]
fn what_is_not_there_has_no_history() {
    let shelf = Shelf::of(1, 2);
    for history in [
        History::new(&shelf.store, ObjectId([9; 32])),
        History::new(&shelf.store, ObjectId([9; 32])).refused(),
        History::new(&shelf.store, ObjectId([9; 32])).since(Time::from_millis(1)).backwards(),
    ] {
        let mut history = history;
        let error = history.next().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
        assert!(history.next().is_none(), "an error ends the list");
    }
}
