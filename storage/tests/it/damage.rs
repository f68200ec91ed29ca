//! Every changed byte at rest is found, and a directory that is no database is not opened.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use continuant_storage::{Error, ErrorKind, ObjectInfo, Options, Retention, Store, Until};
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, append, small};

/// A closed database with several segments.
fn closed(path: &Path) {
    let store = small().open(path).unwrap();
    for seed in 0..4 {
        let (mut author, genesis) = Author::new(seed);
        append(&store, &[genesis], &[(&format!("object {seed}"), author.head.id)]).unwrap();
        for _ in 0..10 {
            append(&store, &[author.next()], &[]).unwrap();
        }
    }
    store.close().unwrap();
}

/// Returns the file and offset of the damage that opening or checking the database finds.
fn found(path: &Path) -> Result<Option<(String, u64)>, ErrorKind> {
    let place = |kind: &ErrorKind| match kind {
        ErrorKind::Damaged { file, offset, .. } => Some((file.clone(), *offset)),
        _ => None,
    };
    match small().open(path) {
        Err(error) => place(error.kind()).map(Some).ok_or_else(|| error.kind().clone()),
        Ok(store) => {
            let report = store.check(|_, _| {}).unwrap();
            let Some(first) = report.damage.first() else { return Ok(None) };
            let kind = first.error().kind();
            place(kind).map(Some).ok_or_else(|| kind.clone())
        }
    }
}

#[test]
fn every_changed_byte_of_the_log_is_found_and_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let mut segments: Vec<_> = fs::read_dir(path.join("log")).unwrap().collect();
    segments.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
    assert!(segments.len() > 1, "several segments");
    let files: Vec<_> = segments.into_iter().map(|entry| entry.unwrap().path()).collect();
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..2000 {
        let file = &files[rng.random_range(0..files.len())];
        let log = OpenOptions::new().read(true).write(true).open(file).unwrap();
        let at = rng.random_range(0..log.metadata().unwrap().len());
        let mut byte = [0];
        log.read_exact_at(&mut byte, at).unwrap();
        let flip = [0x01, 0x80, 0xff][rng.random_range(0..3)];
        log.write_all_at(&[byte[0] ^ flip], at).unwrap();
        let name = format!("log/{}", file.file_name().unwrap().to_str().unwrap());
        match found(&path) {
            Ok(Some((file, offset))) => {
                assert_eq!(file, name, "seed {seed}: byte {at} ^ {flip}");
                assert!(offset <= at, "seed {seed}: byte {at} ^ {flip} is named at {offset}");
            }
            // The version in a segment's header may have become a newer one.
            Err(ErrorKind::NewerFormat { .. }) => assert!((8..12).contains(&at)),
            other => panic!("seed {seed}: byte {at} ^ {flip} of {name}: {other:?}"),
        }
        log.write_all_at(&byte, at).unwrap();
    }
    assert_eq!(found(&path), Ok(None), "it is whole again");
}

/// Regression: a pack that could not be opened ended the check with an error, and so nothing was
/// known of the rest.
#[test]
fn a_pack_that_cannot_be_opened_is_one_finding_and_the_rest_is_checked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(9);
    append(&store, &[genesis], &[]).unwrap();
    while store.stats().unwrap().segment_count < 5 {
        append(&store, &[author.step()], &[]).unwrap();
    }
    store.compact_all(Time::MIN, |_, _| {}).unwrap();
    drop(store);
    let names = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut packs: Vec<_> = names.filter(|file| file.extension().unwrap() == "pack").collect();
    packs.sort();
    assert!(packs.len() > 3, "several packs");
    let name = |pack: &Path| format!("log/{}", pack.file_name().unwrap().to_str().unwrap());
    let whole = small().open(&path).unwrap().check(|_, _| {}).unwrap();
    // The first, one between others, the last; two that follow each other, and two that do not.
    for hurt in [&[0][..], &[1], &[packs.len() - 1], &[1, 2], &[0, 2]] {
        // Its directory, the version in its header, its header, its end.
        for at in [-20_isize, 8, 40, -60] {
            let kept: Vec<_> = hurt.iter().map(|&index| fs::read(&packs[index]).unwrap()).collect();
            for (&index, kept) in hurt.iter().zip(&kept) {
                let mut bytes = kept.clone();
                let at = if at < 0 { bytes.len() - at.unsigned_abs() } else { at.unsigned_abs() };
                bytes[at] ^= 0x80;
                fs::write(&packs[index], bytes).unwrap();
            }
            for bytes_max in [1 << 20, 2000] {
                let store = small().check_bytes_max(bytes_max).open(&path).unwrap();
                let report = store.check(|_, _| {}).unwrap();
                let told: Vec<_> = report.damage.iter().map(|damage| damage.to_string()).collect();
                assert_eq!(report.damage_count, hurt.len() as u64, "{at}: {told:?}");
                for &index in hurt {
                    let name = name(&packs[index]);
                    assert!(told.iter().any(|it| it.contains(&name)), "{at} in {name}: {told:?}");
                }
                assert!(report.lost_count > 0 && report.frame_count < whole.frame_count);
            }
            for (&index, kept) in hurt.iter().zip(kept) {
                fs::write(&packs[index], kept).unwrap();
            }
        }
    }
    assert!(small().open(&path).unwrap().check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn every_changed_byte_of_the_marker_is_found() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let marker = path.join("continuant.db");
    let whole = fs::read(&marker).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        fs::write(&marker, changed).unwrap();
        let error = small().open(&path).unwrap_err();
        let expected = match at {
            0..12 => matches!(error.kind(), ErrorKind::Damaged { offset: 0, .. }),
            12..16 => matches!(error.kind(), ErrorKind::NewerFormat { supported: 2, .. }),
            _ => matches!(error.kind(), ErrorKind::Damaged { .. }),
        };
        assert!(expected, "byte {at}: {error}");
    }
    // Without a log it is anything.
    fs::write(&marker, "dear").unwrap();
    fs::remove_dir_all(path.join("log")).unwrap();
    assert_eq!(small().open(&path).unwrap_err().kind(), &ErrorKind::NotADatabase);
}

/// The number of a format is believed before the check, which another format may have of its own;
/// one that no format has is damage even where the check holds.
#[test]
fn a_file_of_another_format_is_refused_by_name_and_one_of_none_is_damaged() {
    let directory = TempDir::new().unwrap();
    let (path, to) = (directory.path().join("db"), directory.path().join("backup"));
    closed(&path);
    let store = small().open(&path).unwrap();
    store.set_retention(None, Retention::Versions(1)).unwrap();
    store.backup(&to, |_, _| {}).unwrap();
    assert!(store.compact(Time::MAX, |_, _| {}).unwrap().segment_count > 0);
    drop(store);
    let id = fs::read(path.join("continuant.db")).unwrap()[16..32].to_vec();
    let last = fs::read_dir(path.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let last = last.filter(|path| path.extension().unwrap() == "log").max().unwrap();
    let context = |context: &'static str| move |bytes: &[u8]| blake3::derive_key(context, bytes);
    let pack = |bytes: &[u8]| {
        let key = blake3::derive_key("continuant 2 log pack", &id);
        *blake3::keyed_hash(&key, &[&[1, 0, 0, 0], bytes].concat()).as_bytes()
    };
    type Check<'a> = &'a dyn Fn(&[u8]) -> [u8; 32];
    let files: [(_, usize, usize, Check<'_>); 4] = [
        (path.join("continuant.db"), 12, 32, &context("continuant 2 database marker")),
        (last, 8, 64, &context("continuant 2 log segment")),
        (path.join("log/00000001.pack"), 8, 64, &pack),
        (to.join("backup.witness"), 12, 144, &context("continuant 2 backup witness")),
    ];
    let kind = |of: &Path| match of.starts_with(&to) {
        true => {
            let restored = directory.path().join("restored");
            small().restore(&to, restored, Until::End, |_, _| {}).unwrap_err().kind().clone()
        }
        false => match small().open(&path) {
            Err(error) => error.kind().clone(),
            Ok(store) => store.check(|_, _| {}).unwrap().damage[0].error().kind().clone(),
        },
    };
    for (file, at, end, check) in files {
        let whole = fs::read(&file).unwrap();
        assert_eq!(check(&whole[..end]), whole[end..end + 32], "{file:?}: the check is this one");
        for format in [0, 1, 3, u32::MAX] {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&format.to_le_bytes());
            let forged = check(&bytes[..end]);
            bytes[end..end + 32].copy_from_slice(&forged);
            fs::write(&file, &bytes).unwrap();
            let found = kind(&file);
            let expected = match format {
                0 => matches!(found, ErrorKind::Damaged { offset, .. } if offset == at as u64),
                1 => found == ErrorKind::OldFormat { found: 1 },
                _ => found == ErrorKind::NewerFormat { found: format, supported: 2 },
            };
            assert!(expected, "{file:?} of format {format}: {found:?}");
        }
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(found(&path), Ok(None), "it is whole again");
}

/// Regression: it was told that the log names no database.
#[test]
fn a_newer_log_whose_marker_is_lost_is_called_newer() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    fs::remove_file(path.join("continuant.db")).unwrap();
    let first = path.join("log/00000001.log");
    let mut bytes = fs::read(&first).unwrap();
    bytes[8] = 3;
    fs::write(&first, &bytes).unwrap();
    let error = small().repair(&path, None, |_, _| {}).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NewerFormat { found: 3, supported: 2 });
    assert_eq!(error.path(), Some(&*first));
}

#[test]
fn a_segment_that_is_missing_swapped_or_of_another_database_is_found() {
    let directory = TempDir::new().unwrap();
    let (path, other) = (directory.path().join("db"), directory.path().join("other"));
    closed(&path);
    closed(&other);
    let segment = |path: &Path, number: u32| path.join(format!("log/{number:08}.log"));
    let kept = directory.path().join("kept");
    fs::rename(segment(&path, 1), &kept).unwrap();
    assert!(matches!(found(&path), Ok(Some((file, _))) if file == "log/00000001.log"));
    fs::copy(segment(&other, 1), segment(&path, 1)).unwrap();
    let file = "log/00000001.log".to_string();
    assert_eq!(found(&path), Err(ErrorKind::OtherDatabase { file }));
    fs::copy(segment(&path, 2), segment(&path, 1)).unwrap();
    assert!(matches!(found(&path), Ok(Some((file, _))) if file == "log/00000001.log"));
    fs::copy(&kept, segment(&path, 1)).unwrap();
    assert_eq!(found(&path), Ok(None));
}

#[test]
fn what_is_not_a_database_is_not_opened() {
    let directory = TempDir::new().unwrap();
    let open = |path: &Path, options: Options| options.open(path).unwrap_err().kind().clone();
    let missing = directory.path().join("missing");
    assert_eq!(open(&missing, small().existing(true)), ErrorKind::NotADatabase);
    assert!(!missing.exists());
    let other = directory.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    assert_eq!(open(&other, small()), ErrorKind::NotADatabase);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1, "nothing was written");
    let file = directory.path().join("file");
    fs::write(&file, "dear").unwrap();
    assert!(matches!(open(&file, small()), ErrorKind::Io { .. }));
    let path = directory.path().join("db");
    let store = Store::open(&path).unwrap();
    assert_eq!(open(&path, small()), ErrorKind::Locked);
    drop(store);
    drop(Store::open(&path).unwrap());
}

#[test]
fn a_creation_that_was_cut_short_is_gone_on_with() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("continuant.db.tmp"), "CONT").unwrap();
    drop(Store::open(&path).unwrap());
    fs::remove_file(path.join("index.redb")).unwrap();
    fs::write(path.join("index.redb.tmp"), "half").unwrap();
    let store = Store::open(&path).unwrap();
    append(&store, &[Author::new(1).1], &[]).unwrap();
    drop(store);
    // The log is created before the marker.
    fs::remove_file(path.join("index.redb")).unwrap();
    fs::rename(path.join("continuant.db"), path.join("continuant.db.tmp")).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(store.list(None, 10).unwrap(), [], "nobody had opened what was begun");
    append(&store, &[Author::new(1).1], &[]).unwrap();
}

/// Regression: the marker alone was taken for a new database.
#[test]
fn a_marker_alone_is_no_new_database() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    fs::remove_file(path.join("index.redb")).unwrap();
    fs::remove_dir_all(path.join("log")).unwrap();
    assert!(matches!(found(&path), Ok(Some((file, 0))) if file == "log/00000001.log"));
    let error = Options::new().rebuild_index(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
}

#[test]
fn changed_bytes_of_the_index_are_found_or_change_nothing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let index = path.join("index.redb");
    let whole = fs::read(&index).unwrap();
    let heads = |store: &Store| {
        let infos = store.list(None, 100)?;
        let found =
            |info: &ObjectInfo| Ok((info.clone(), store.find(info.name.as_ref().unwrap())?));
        infos.iter().map(found).collect::<Result<Vec<_>, Error>>()
    };
    let expected = heads(&small().open(&path).unwrap()).unwrap();
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut found = 0;
    for _ in 0..300 {
        let mut changed = whole.clone();
        // Most of the file is unused: half of the flips are where bytes are.
        let mut at = rng.random_range(0..whole.len());
        while rng.random_bool(0.9) && whole[at] == 0 {
            at = rng.random_range(0..whole.len());
        }
        changed[at] ^= [0x01, 0x80, 0xff][rng.random_range(0..3)];
        fs::write(&index, changed).unwrap();
        let sound = small().open(&path).and_then(|store| {
            let report = store.check(|_, _| {})?;
            Ok((report.is_sound(), heads(&store)))
        });
        match sound {
            Ok((true, read)) => assert_eq!(read.unwrap(), expected, "seed {seed}: byte {at}"),
            Ok((false, _)) | Err(_) => found += 1,
        }
    }
    assert!(found > 0);
}

/// Regression: one broken byte was reported as damage of everything behind it, and of a sound
/// index.
#[test]
fn one_broken_frame_is_one_fault_with_what_is_lost_by_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    closed(&path);
    let ends = crate::backup::boundaries(&path);
    // The genesis with the object's name, and a version behind the first.
    let (mut author, _) = Author::new(1);
    let id = author.head.id;
    let is_version = |made| matches!(made, Made::Version { .. });
    let behind = (1..10).find(|&behind| is_version(author.next()) && behind > 1).unwrap();
    for (frame, seq) in [(11, 0), (11 + behind, author.head.header.seq)] {
        let damaged = directory.path().join(frame.to_string());
        crate::author::copy(&path, &damaged);
        let place = ends[frame].to_string();
        let offset: u64 = place.strip_prefix("1:").unwrap().parse().unwrap();
        let log = damaged.join("log/00000001.log");
        let log = OpenOptions::new().read(true).write(true).open(log).unwrap();
        let mut byte = [0];
        log.read_exact_at(&mut byte, offset + 300).unwrap();
        log.write_all_at(&[byte[0] ^ 1], offset + 300).unwrap();
        let report = small().open(&damaged).unwrap().check(|_, _| {}).unwrap();
        assert_eq!(report.damage_count, 1, "{:?}", report.damage);
        assert!(report.damage[0].to_string().contains(&format!("offset {offset}")));
        assert!(report.consequence_count > 0, "{report:?}");
        let [lost] = &report.lost[..] else { panic!("{:?}", report.lost) };
        assert_eq!((lost.object, lost.first, lost.last), (id, seq, seq));
        assert_eq!(lost.name.as_deref(), Some("object 1"));
    }
}

/// Regression: behind an older page of the index, a list of objects began anew, for ever.
#[test]
fn a_list_and_a_check_come_to_an_end_whatever_page_of_the_index_is_older() {
    const OBJECTS: u64 = 420;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let index = path.join("index.redb");
    let mut authors: Vec<Author> = Vec::new();
    let mut copies = Vec::new();
    for _ in 0..6 {
        let store = small().open(&path).unwrap();
        for _ in 0..OBJECTS / 6 {
            let (author, genesis) = Author::new(authors.len() as u64);
            append(&store, &[genesis], &[]).unwrap();
            authors.push(author);
        }
        for author in authors.iter_mut().step_by(3) {
            append(&store, &[author.next()], &[]).unwrap();
        }
        drop(store);
        copies.push(fs::read(&index).unwrap());
    }
    let newest = copies.pop().unwrap();
    let mut found = 0;
    for older in copies {
        for at in (0..older.len().min(newest.len())).step_by(4096) {
            let page = at..at + 4096;
            if older[page.clone()] == newest[page.clone()] {
                continue;
            }
            let mut mixed = newest.clone();
            mixed[page.clone()].copy_from_slice(&older[page]);
            fs::write(&index, mixed).unwrap();
            let Ok(store) = small().open(&path) else { continue };
            let (mut after, mut count) = (None, 0);
            let listed = loop {
                match store.list(after, 7) {
                    Ok(listed) if listed.is_empty() => break true,
                    Ok(listed) => {
                        count += listed.len() as u64;
                        assert!(count <= OBJECTS, "the page at {at} is listed again");
                        after = listed.last().map(|info| info.id);
                    }
                    Err(_) => break false,
                }
            };
            found += u64::from(!listed);
            let is_sound = store.check(|_, _| {}).is_ok_and(|report| report.is_sound());
            assert!(!is_sound || count == OBJECTS, "the page at {at}");
        }
    }
    assert!(found > 0, "some pages show");
}
