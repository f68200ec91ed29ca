//! Databases of every released format still open, and what is of format 1, from before the first
//! release, is refused by name. Fixtures are never deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use continuant_storage::{CapsuleReader, Error, ErrorKind, LineageEntry, Retention, Store, Until};
use object::memory::Tree;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, append, copy, small};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Writes the content of a fixture: two objects with versions, refusals and a name each, whose
/// history is kept, then records of every kind.
fn write(store: &Store, path: &Path) -> Vec<Author> {
    let authors = (1..3)
        .map(|seed| {
            let (mut author, genesis) = Author::new(10 + seed);
            let name = format!("object {seed}");
            append(store, &[genesis], &[(&name, author.head.id)]).unwrap();
            for _ in 0..6 {
                append(store, &[author.step(), author.refuse()], &[]).unwrap();
            }
            store.set_retention(Some(author.head.id), Retention::All).unwrap();
            author
        })
        .collect();
    crate::format::write_records(store, path);
    authors
}

/// Writes the fixtures of a format, as segments and as packs whose records were trimmed.
fn write_all(name: &str) {
    let (path, packed) = (fixture(name), fixture(&format!("{name}-packed")));
    let directory = TempDir::new().unwrap();
    let made = directory.path().join("db");
    let store = small().open(&made).unwrap();
    let heads = write(&store, &made).into_iter().map(|author| author.head.hash.to_string());
    let heads = heads.collect::<Vec<_>>().join("\n") + "\n";
    std::fs::write(fixture(&format!("{name}.heads")), heads).unwrap();
    store.close().unwrap();
    drop(store);
    crate::losses::lose_the_last_frame(&made);
    copy(&made, &path);
    let store = small().open(&made).unwrap();
    assert!(store.compact(Time::MAX, |_, _| {}).unwrap().trimmed_count > 0);
    store.close().unwrap();
    copy(&made, &packed);
    // The index is a cache; the log is the fixture.
    for path in [path, packed] {
        std::fs::remove_file(path.join("index.redb")).unwrap();
    }
}

fn check(name: &str, heads: &str) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    copy(&fixture(name), &path);
    let store = small().open(&path).unwrap();
    assert!(store.check(|_, _| {}).unwrap().is_sound());
    let mut expected = Vec::new();
    for seed in 1..3 {
        let id = store.find(&format!("object {seed}")).unwrap().unwrap();
        let loaded = store.head(id).unwrap().unwrap();
        assert_eq!((loaded.head.header.seq, loaded.head.refusal_count), (6, 6));
        assert_eq!(Tree::of(&loaded.image).root(), loaded.head.header.memory_root);
        let entries = store.lineage(id).unwrap().map(Result::unwrap);
        let versions = entries.filter(|entry| matches!(entry, LineageEntry::Commit(_))).count();
        assert_eq!(versions, 7);
        expected.push(loaded.head.hash.to_string());
    }
    assert_eq!(store.losses().len(), 1);
    let found = std::fs::read_to_string(fixture(&format!("{heads}.heads"))).unwrap();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "the heads that it was written with");
    // The store continues in the present format, and opens again.
    let author = write_more(&store);
    drop(store);
    let store = small().open(&path).unwrap();
    assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
    assert!(store.check(|_, _| {}).unwrap().is_sound());
    assert!(store.find("object 2").unwrap().is_some());
}

fn write_more(store: &Store) -> Author {
    let (mut author, genesis) = Author::new(9);
    append(store, &[genesis], &[]).unwrap();
    (0..5).for_each(|_| append(store, &[author.step()], &[]).unwrap());
    author
}

/// Run with `WRITE_FIXTURE=format-N`, it writes the fixtures of a new format N first.
#[test]
fn databases_of_every_format_open_and_go_on() {
    if let Some(name) = std::env::var_os("WRITE_FIXTURE") {
        write_all(name.to_str().unwrap());
    }
    crate::format::has_every_kind(&fixture("format-2"));
    check("format-2", "format-2");
    check("format-2-packed", "format-2");
}

/// A format-1 thing is refused by its name, in words that say what to do.
#[track_caller]
fn check_old(refused: Result<impl Sized, Error>) {
    let error = refused.err().unwrap();
    assert_eq!(error.kind(), &ErrorKind::OldFormat { found: 1 }, "{error}");
    let words = "written in format 1, before the first release, which nothing reads any more: make";
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(error.kind().name(), "old-format");
    assert!(!error.kind().is_damaged());
}

/// The files of a directory and of those in it, with their bytes.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.append(&mut files(&entry)),
            false => drop(found.insert(entry.clone(), std::fs::read(&entry).unwrap())),
        }
    }
    found
}

#[test]
fn a_database_of_format_1_is_refused_by_name_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    copy(&fixture("format-1"), &path);
    std::fs::remove_file(path.join("backup.witness")).unwrap();
    let mut before = files(&path);
    assert_eq!(before.len(), 2);
    check_old(small().open(&path));
    check_old(small().read_only(true).open(&path));
    check_old(small().repair(&path, None, |_, _| {}));
    assert!(files(&path) == before);
    // The log says it by itself.
    let marker = path.join("continuant.db");
    std::fs::remove_file(&marker).unwrap();
    before.remove(&marker);
    check_old(small().repair(&path, None, |_, _| {}));
    assert!(files(&path) == before);
}

#[test]
fn a_backup_of_format_1_is_refused_by_name_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let (backup, target) = (directory.path().join("backup"), directory.path().join("db"));
    copy(&fixture("format-1"), &backup);
    let store = small().open(directory.path().join("other")).unwrap();
    let mut before = files(&backup);
    let check = |before: &BTreeMap<PathBuf, Vec<u8>>| {
        check_old(small().is_backup(&backup));
        check_old(small().repair(&backup, None, |_, _| {}));
        check_old(small().restore(&backup, &target, Until::End, |_, _| {}));
        check_old(store.backup(&backup, |_, _| {}));
        assert!(files(&backup) == *before && !target.exists());
    };
    check_old(small().open(&backup));
    check_old(small().read_only(true).open(&backup));
    check(&before);
    // Its witness says it by itself.
    let marker = backup.join("continuant.db");
    std::fs::remove_file(&marker).unwrap();
    before.remove(&marker);
    check(&before);
}

#[test]
fn a_capsule_of_format_1_is_refused_by_name() {
    let capsule = std::fs::read(fixture("format-1.continuant")).unwrap();
    check_old(CapsuleReader::new(&capsule[..]));
}
