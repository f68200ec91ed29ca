//! Machine code in files: a second process compiles nothing, and damaged or foreign files are not
//! used.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use continuant::{Code, Database, ErrorKind, Options, args};
use tempfile::TempDir;

use crate::objects;

/// A database and a code cache, each in a directory of its own.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    fn cache(&self) -> PathBuf {
        self.directory.path().join("caches/code")
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    /// Opens the database and has its counter take a step; what was compiled for it, and cached.
    fn step(&self) -> (u64, u64) {
        self.step_of("counter", &objects::counter())
    }

    /// The same of another object.
    fn step_of(&self, name: &str, module: &[u8]) -> (u64, u64) {
        let db = Options::new().code_cache(self.cache()).open(self.database()).unwrap();
        let code = || Code::wasm(module).unwrap().policy(objects::OPEN).name(name);
        let found = db.find(name).unwrap();
        let object = found.unwrap_or_else(|| db.create(code()).unwrap());
        let before: u64 = db.snapshot(object).unwrap().get("total").unwrap();
        db.call(object, "add", args![1u64]).wait().unwrap();
        assert_eq!(db.snapshot(object).unwrap().get::<u64>("total").unwrap(), before + 1);
        let metrics = db.metrics();
        db.close().unwrap();
        (metrics.codes_compiled, metrics.codes_cached)
    }

    /// The files of machine code.
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| !path.ends_with("key")).collect()
    }

    /// The one file of machine code.
    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_second_process_compiles_nothing() {
    let place = Place::new();
    assert_eq!(place.step(), (1, 0));
    assert_eq!(place.step(), (0, 1));
    let db = Database::open(place.database()).unwrap();
    let counter = db.find("counter").unwrap().unwrap();
    db.call(counter, "add", args![1u64]).wait().unwrap();
    assert_eq!(db.metrics().codes_compiled, 1, "without a cache everything is compiled");
}

#[test]
fn a_file_that_is_not_as_it_was_written_is_compiled_again() {
    let place = Place::new();
    place.step();
    let length = fs::read(place.file()).unwrap().len();
    for at in [0, 7, 8, 39, 40, length / 2, length - 1] {
        change(&place.file(), |bytes| bytes[at] ^= 1);
        assert_eq!(place.step(), (1, 0), "with another byte {at}");
        assert_eq!(place.step(), (0, 1), "it was replaced");
    }
    for cut in [0, 8, 39, 40, length - 1] {
        change(&place.file(), |bytes| bytes.truncate(cut));
        assert_eq!(place.step(), (1, 0), "cut to {cut} bytes");
    }
    change(&place.file(), |bytes| bytes.push(0));
    assert_eq!(place.step(), (1, 0), "with a byte more");
}

#[test]
fn machine_code_of_another_cache_is_compiled_again() {
    let (place, other) = (Place::new(), Place::new());
    place.step();
    other.step();
    fs::copy(other.file(), place.file()).unwrap();
    assert_eq!(place.step(), (1, 0), "it was written with another key");
    assert_eq!(place.step(), (0, 1));
}

#[test]
fn machine_code_of_another_module_is_compiled_again() {
    let place = Place::new();
    let schema = "record state { total: u64 } add: func(amount: u64);";
    let body = r#"(func (export "add") (param i64)
        (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get 0))))"#;
    let other = objects::module(schema, "", body);
    place.step();
    let counter = place.file();
    assert_eq!(place.step_of("other", &other), (1, 0));
    let other_file = place.files().into_iter().find(|file| *file != counter).unwrap();
    fs::copy(&counter, &other_file).unwrap();
    assert_eq!(place.step_of("other", &other), (1, 0), "it is the counter's");
    assert_eq!(place.step_of("other", &other), (0, 1));
    assert_eq!(place.step(), (0, 1));
}

#[test]
fn a_lost_key_makes_what_is_there_worthless() {
    let place = Place::new();
    place.step();
    for key in [vec![], vec![1; 31], vec![0; 32], vec![1; 32]] {
        fs::write(place.cache().join("key"), key).unwrap();
        assert_eq!(place.step(), (1, 0));
    }
    fs::remove_file(place.cache().join("key")).unwrap();
    assert_eq!(place.step(), (1, 0));
    assert_eq!(place.step(), (0, 1));
}

#[test]
fn a_directory_that_others_can_write_to_is_no_code_cache() {
    let place = Place::new();
    fs::create_dir_all(place.cache()).unwrap();
    for mode in [0o777, 0o770, 0o702] {
        fs::set_permissions(place.cache(), Permissions::from_mode(mode)).unwrap();
        let options = Options::new().code_cache(place.cache());
        let error = options.open(place.database()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::CodeCache { .. }), "{error}");
        assert!(!place.database().exists(), "no database was made on the way");
    }
    fs::set_permissions(place.cache(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.step(), (1, 0));
}

/// Anyone who could once write to the directory may have put a key there, and code sealed with it.
#[test]
fn a_key_that_others_can_know_is_none() {
    let place = Place::new();
    place.step();
    let key = place.cache().join("key");
    for mode in [0o644, 0o660, 0o604] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        assert_eq!(place.step(), (1, 0), "mode {mode:o}");
        assert_eq!(place.step(), (0, 1));
    }
    // A key behind a symbolic link is no key either.
    let elsewhere = place.directory.path().join("elsewhere");
    fs::rename(&key, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &key).unwrap();
    assert_eq!(place.step(), (1, 0));
    assert!(fs::symlink_metadata(&key).unwrap().is_file());
}

#[test]
fn what_others_keep_there_stays() {
    let place = Place::new();
    place.step();
    let theirs = ["notes.txt".to_string(), "0".repeat(63), "0".repeat(65), "G".repeat(64)];
    for name in &theirs {
        // A sparse file: no bytes on the disk, and too many for the cache.
        let file = fs::File::create(place.cache().join(name)).unwrap();
        file.set_len(300 << 20).unwrap();
    }
    let old = place.cache().join("0".repeat(64));
    fs::File::create(&old).unwrap().set_len(256 << 20).unwrap();
    fs::File::open(&old).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write(place.cache().join("key"), "").unwrap();
    assert_eq!(place.step(), (1, 0));
    assert!(theirs.iter().all(|name| place.cache().join(name).exists()));
    assert!(!old.exists(), "the oldest made room");
    assert_eq!(place.step(), (0, 1));
}

#[test]
fn a_code_cache_is_its_owners_alone() {
    let place = Place::new();
    place.step();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.cache()), 0o700);
    assert_eq!(mode(place.cache().join("key")), 0o600);
    assert_eq!(mode(place.file()), 0o600);
}
