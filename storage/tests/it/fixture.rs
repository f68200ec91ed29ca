//! Databases of every format that was ever written still open. Fixtures are never deleted.

use std::path::Path;

use continuant_storage::{LineageEntry, Store};
use tempfile::TempDir;

use crate::author::{Author, append, copy, small};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What the fixture of format 1 was made of: two objects, versions and refusals, one name. Run with
/// `WRITE_FIXTURE=format-2` when there is a format 2.
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

#[test]
fn a_database_of_format_1_opens() {
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
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    copy(&fixture("format-1"), &path);
    let store = small().open(&path).unwrap();
    assert!(store.check(|_, _| {}).unwrap().is_sound());
    let mut expected = Vec::new();
    for seed in 1..3 {
        let id = store.find(&format!("object {seed}")).unwrap().unwrap();
        let loaded = store.head(id).unwrap().unwrap();
        assert_eq!((loaded.head.header.seq, loaded.head.refusal_count), (6, 6));
        let entries = store.lineage(id).unwrap().map(Result::unwrap);
        let versions = entries.filter(|entry| matches!(entry, LineageEntry::Commit(_))).count();
        assert_eq!(versions, 7);
        expected.push(loaded.head.hash.to_string());
    }
    let found = std::fs::read_to_string(fixture("format-1.heads")).unwrap();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "the heads that it was written with");
}
