//! Databases of every format that was ever written still open. Fixtures are never deleted.

use std::path::Path;

use continuant_storage::{LineageEntry, Store};
use object::memory::Tree;
use tempfile::TempDir;

use crate::author::{Author, append, copy, small};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Writes the content of a fixture: two objects with versions, refusals and a name each. Run with
/// `WRITE_FIXTURE=format-N` when there is a new layout N of the log.
fn write(store: &Store) -> Vec<Author> {
    (1..3)
        .map(|seed| {
            let (mut author, genesis) = Author::new(seed);
            let name = format!("object {seed}");
            append(store, &[genesis], &[(&name, author.head.id)]).unwrap();
            for _ in 0..6 {
                append(store, &[author.step(), author.refuse()], &[]).unwrap();
            }
            author
        })
        .collect()
}

fn check(name: &str) {
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
    let found = std::fs::read_to_string(fixture(&format!("{name}.heads"))).unwrap();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "the heads that it was written with");
    // The store continues in the present layout, and opens again.
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

#[test]
fn databases_of_every_layout_open_and_go_on() {
    if let Some(name) = std::env::var_os("WRITE_FIXTURE") {
        let name = name.to_str().unwrap();
        let path = fixture(name);
        let store = small().open(&path).unwrap();
        let heads = write(&store).into_iter().map(|author| author.head.hash.to_string());
        let heads = heads.collect::<Vec<_>>().join("\n") + "\n";
        std::fs::write(fixture(&format!("{name}.heads")), heads).unwrap();
        store.close().unwrap();
        // The index is a cache; the log is the fixture.
        std::fs::remove_file(path.join("index.redb")).unwrap();
    }
    check("format-1");
    check("format-2");
}
