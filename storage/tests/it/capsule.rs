//! Capsules: an object out of one store and into another, whole or not at all.

use continuant_storage::{CapsuleReader, ErrorKind, Options, Result, Retention, Seal, Store};
use object::capsule::{Chain, HEAD, PACKED_BYTES_MAX, SectionKind, section_head};
use object::hash::ObjectId;
use object::head::Head;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, append, assert_sound, copy, reopen, small};

fn lived(store: &Store, seed: u64) -> Author {
    let (mut author, genesis) = Author::upgrading(seed);
    append(store, &[genesis], &[]).unwrap();
    for _ in 0..30 {
        append(store, &[author.next()], &[]).unwrap();
    }
    author
}

fn export(store: &Store, id: ObjectId) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), (0, 1));
    store.export(id, &mut bytes, |done, all| last = (done, all)).unwrap();
    assert_eq!(last.0, last.1, "progress ends at the end");
    bytes
}

/// Reads a capsule to its end.
fn read(bytes: &[u8]) -> Result<(Vec<SectionKind>, Seal)> {
    let mut reader = CapsuleReader::new(bytes)?;
    let mut kinds = Vec::new();
    while let Some((kind, _)) = reader.next()? {
        kinds.push(kind);
    }
    Ok((kinds, reader.seal().expect("the end was read")))
}

fn import(store: &Store, bytes: &[u8], head: &Head) -> Result<ObjectId> {
    let (_, seal) = read(bytes)?;
    store.import(bytes, head, seal)
}

#[test]
fn an_object_is_the_same_in_another_store() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let path = directory.path().join("two");
    let two = small().open(&path).unwrap();
    let mut author = lived(&one, 4);
    let id = author.head.id;
    let bytes = export(&one, id);
    assert_eq!(import(&two, &bytes, &author.head).unwrap(), id);
    let error = import(&two, &bytes, &author.head).unwrap_err();
    let seq = author.head.header.seq;
    let expected = ErrorKind::HereAlready { seq, found: seq, moved: false };
    assert_eq!(*error.kind(), expected, "{error}");
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    let crashed = small().open(&crashed).unwrap();
    append(&two, &[author.step()], &[]).unwrap();
    append(&crashed, &[author_again(&two, id)], &[]).unwrap_err();
    drop(two);
    let two = small().open(&path).unwrap();
    assert_eq!(two.head(id).unwrap().unwrap().head, author.head);
    assert!(two.check(|_, _| {}).unwrap().is_sound());
    assert!(crashed.check(|_, _| {}).unwrap().is_sound());
    assert_eq!(export(&crashed, id), bytes, "recovery finds what was imported");
    std::fs::remove_file(path.join("index.redb")).unwrap_or_default();
}

/// A genesis that is in the store already.
fn author_again(store: &Store, id: ObjectId) -> crate::author::Made {
    let genesis = store.version(id, 0).unwrap().unwrap();
    let mut bytes = Vec::new();
    genesis.complete().encode_into(&mut bytes);
    let secret = Some(genesis.commit.secret().unwrap().clone());
    let before = genesis.image;
    crate::author::Made::Version { bytes, ledger: None, begins: true, secret, before }
}

#[test]
fn a_capsule_has_each_part_once_before_the_record_that_needs_it() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(7);
    let (one, two) = (author.step(), author.upgrade());
    let made = [genesis, one, two, author.refuse(), author.step(), author.upgrade()];
    append(&store, &made, &[]).unwrap();
    append(&store, &[author.step(), author.upgrade()], &[]).unwrap();
    let bytes = export(&store, author.head.id);
    let (kinds, _) = read(&bytes).unwrap();
    use SectionKind::*;
    let first = [Secret, Code, Policy, Base, Commit, Commit];
    let second = [Code, Base, Commit, Refusal, Commit];
    let back_and_there = [Commit, Commit, Commit, End];
    assert_eq!(kinds, [&first[..], &second, &back_and_there].concat());
    let other = small().open(directory.path().join("other")).unwrap();
    import(&other, &bytes, &author.head).unwrap();
    assert_eq!(export(&other, author.head.id), bytes);
    append(&other, &[author.step()], &[]).unwrap();
    assert!(other.check(|_, _| {}).unwrap().is_sound());
}

#[test]
fn an_import_that_fails_on_the_way_leaves_no_object() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let path = directory.path().join("two");
    let two = small().open(&path).unwrap();
    let author = lived(&one, 4);
    let bytes = export(&one, author.head.id);
    let (_, seal) = read(&bytes).unwrap();
    let cut = &bytes[..bytes.len() - 40];
    assert!(two.import(cut, &author.head, seal).is_err());
    let other = lived(&one, 5);
    assert!(two.import(&export(&one, other.head.id)[..], &author.head, seal).is_err());
    assert_eq!(two.head(author.head.id).unwrap().map(|_| ()), None);
    assert!(two.check(|_, _| {}).unwrap().is_sound());
    drop(two);
    let two = small().open(&path).unwrap();
    assert_eq!(two.list(None, 10).unwrap(), []);
    import(&two, &bytes, &author.head).unwrap();
    assert_eq!(export(&two, author.head.id), bytes);
    assert!(two.check(|_, _| {}).unwrap().is_sound());
}

/// The sections of a capsule but its end, each by itself.
fn sections(bytes: &[u8]) -> Vec<(SectionKind, Vec<u8>)> {
    let mut reader = CapsuleReader::new(bytes).unwrap();
    let mut sections = Vec::new();
    while let Some((kind, body)) = reader.next().unwrap() {
        sections.push((kind, body.to_vec()));
    }
    sections.pop();
    sections
}

/// A capsule of sections as they stand.
fn sealed(sections: &[(SectionKind, Vec<u8>)]) -> Vec<u8> {
    let (mut chain, mut bytes) = (Chain::new(), HEAD.to_vec());
    let count = (sections.len() as u64).to_le_bytes().to_vec();
    for (kind, body) in sections.iter().chain([&(SectionKind::End, count)]) {
        let (head, check) = chain.section(*kind, body);
        bytes.extend([&head[..], body, &check].concat());
    }
    bytes
}

#[test]
fn a_capsule_is_compressed_and_one_that_is_not_is_read_too() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&one, &[genesis], &[]).unwrap();
    for _ in 0..400 {
        append(&one, &[author.touch()], &[]).unwrap();
    }
    let bytes = export(&one, author.head.id);
    let parts = sections(&bytes);
    let plain = sealed(&parts);
    let versions = author.head.header.seq + 1;
    assert!(plain.len() as u64 > 4096 * versions, "each version has a page");
    let most = 1024 * versions;
    assert!((bytes.len() as u64) < most, "{} bytes for {versions} versions", bytes.len());
    let two = small().open(directory.path().join("two")).unwrap();
    import(&two, &plain, &author.head).unwrap();
    assert_eq!(export(&two, author.head.id), bytes);
    assert_eq!(sections(&plain), parts);
}

/// An LZ4 block of these bytes as they are, within a packed section's body.
fn packed(length: u32, bytes: &[u8]) -> (SectionKind, Vec<u8>) {
    assert!(bytes.len() < 15, "one token says how many there are");
    let block = [&[bytes.len() as u8 * 16], bytes].concat();
    (SectionKind::Packed, [&length.to_le_bytes()[..], &block].concat())
}

#[test]
fn what_is_packed_is_within_its_limits_and_neither_the_end_nor_packed() {
    use SectionKind::*;
    let inner = |kind, body: &[u8]| [&section_head(kind, body.len())[..], body].concat();
    let one = inner(Policy, b"text");
    let length = one.len() as u32;
    let good = sealed(&[packed(length, &one)]);
    assert_eq!(read(&good).unwrap().0, [Policy, End]);
    let two = [inner(Policy, b"a"), inner(Code, b"b")].concat();
    assert_eq!(read(&sealed(&[packed(12, &two)])).unwrap().0, [Policy, Code, End]);
    let check = |what: (SectionKind, Vec<u8>), expected: &str| {
        let error = read(&sealed(&[what])).unwrap_err();
        let ErrorKind::Capsule { offset: 16, .. } = error.kind() else { panic!("{error}") };
        assert!(error.to_string().contains(expected), "{error}");
    };
    check((Packed, b"abc".to_vec()), "the length of packed sections");
    for length in [0, 1 << 12, PACKED_BYTES_MAX as u32 + 1, u32::MAX] {
        check(packed(length, &one), "a length of packed sections");
    }
    check(packed(length - 1, &one), "an LZ4 block");
    check(packed(length + 1, &one), "an LZ4 block");
    check(packed(13, &inner(End, &[0; 8])), "a section that may be packed");
    check(packed(9, &inner(Packed, &[0; 4])), "a section that may be packed");
    check(packed(6, &[9, 1, 0, 0, 0, 7]), "the head of a packed section");
    check(packed(6, &[1, 2, 0, 0, 0, 7]), "a packed section");
    check(packed(4, &[1, 0, 0, 0]), "a packed section");
}

#[test]
fn every_changed_or_missing_byte_is_found() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let author = lived(&store, 9);
    let bytes = export(&store, author.head.id);
    let (kinds, _) = read(&bytes).unwrap();
    assert_eq!(kinds.last(), Some(&SectionKind::End));
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..2000 {
        let at = rng.random_range(0..bytes.len());
        let mut changed = bytes.clone();
        changed[at] ^= [0x01, 0x80, 0xff][rng.random_range(0..3)];
        assert!(read(&changed).is_err(), "seed {seed}: byte {at}");
        assert!(read(&bytes[..at]).is_err(), "seed {seed}: cut at {at}");
    }
    let longer = [&bytes[..], b"x"].concat();
    let error = read(&longer).unwrap_err();
    let ErrorKind::Capsule { offset, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*offset, bytes.len() as u64);
}

#[test]
fn an_index_that_is_written_during_an_import_has_its_blobs() {
    let directory = TempDir::new().unwrap();
    let one = small().open(directory.path().join("one")).unwrap();
    let path = directory.path().join("two");
    let two = small().tail_bytes_max(1).open(&path).unwrap();
    let author = lived(&one, 4);
    import(&two, &export(&one, author.head.id), &author.head).unwrap();
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    for path in [crashed, path] {
        let store = match path.ends_with("two") {
            true => None,
            false => Some(small().open(path).unwrap()),
        };
        let store = store.as_ref().unwrap_or(&two);
        assert!(store.code(author.head.header.code).unwrap().is_some());
        assert!(store.policy(author.head.header.policy).unwrap().is_some());
        assert_eq!(store.head(author.head.id).unwrap().unwrap().head, author.head);
        assert!(store.check(|_, _| {}).unwrap().is_sound());
    }
}

/// An object could not come back to a store that had it.
#[test]
fn an_object_comes_back_to_where_it_was() {
    let directory = TempDir::new().unwrap();
    let mut paths = ["one", "two"].map(|name| directory.path().join(name));
    let mut stores = paths.clone().map(|path| small().recent_rows_max(2).open(path).unwrap());
    let mut author = lived(&stores[0], 4);
    let id = author.head.id;
    append_name(&stores[0], 50, "other");
    let (_, seal) = read(&export(&stores[0], id)).unwrap();
    stores[0]
        .import_as(&export(&stores[0], id)[..], &author.head, seal, Some(("x", Time::MIN)))
        .unwrap_err();
    let rule = Retention::Versions(1000);
    stores[0].set_retention(Some(id), rule).unwrap();
    let mut older: Vec<(Vec<u8>, Head)> = Vec::new();
    for journey in 0..8 {
        let bytes = export(&stores[journey % 2], id);
        let to = &stores[(journey + 1) % 2];
        let (_, seal) = read(&bytes).unwrap();
        to.import_as(&bytes[..], &author.head, seal, Some(("it", Time::MIN))).unwrap();
        assert_eq!(to.find("it").unwrap(), Some(id));
        assert_eq!(to.head(id).unwrap().unwrap().head, author.head, "journey {journey}");
        assert_eq!(export(to, id), bytes);
        let error = import(to, &bytes, &author.head).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::HereAlready { .. }), "{error}");
        for (bytes, head) in &older {
            let error = import(to, bytes, head).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::HereAlready { .. }), "{error}");
        }
        assert_sound(to);
        older.push((bytes, author.head.clone()));
        let next = match journey {
            3 => author.refuse(),
            5 => author.upgrade(),
            _ => author.next(),
        };
        append(to, &[next], &[]).unwrap();
        let here = (journey + 1) % 2;
        stores[here].close().unwrap();
        let copied = directory.path().join(format!("{journey}"));
        copy(&paths[here], &copied);
        paths[here] = copied;
        if journey % 3 == 1 {
            Options::new().rebuild_index(&paths[here]).unwrap();
        }
        stores[here] = small().recent_rows_max(2).open(&paths[here]).unwrap();
    }
    assert_eq!(stores[0].retention(Some(id)).unwrap(), rule);
    assert_eq!(stores[1].retention(Some(id)).unwrap(), Retention::All);
}

/// Creates an object under a name.
fn append_name(store: &Store, seed: u64, name: &str) {
    let (author, genesis) = Author::new(seed);
    append(store, &[genesis], &[(name, author.head.id)]).unwrap();
}

#[test]
fn what_went_another_way_is_told_from_what_is_older() {
    let directory = TempDir::new().unwrap();
    let stores = ["one", "two"].map(|name| small().open(directory.path().join(name)).unwrap());
    let [one, two] = &stores;
    let mut here = lived(one, 4);
    let id = here.head.id;
    import(two, &export(one, id), &here.head).unwrap();
    let mut there = here.twin();
    let parted = here.head.header.seq + 1;
    append(one, &[here.step()], &[]).unwrap();
    append(two, &[there.refuse(), there.step(), there.step()], &[]).unwrap();
    let diverged = |to: &Store, from: &Store, head: &Head, seq: u64| {
        let before = export(to, id);
        let error = import(to, &export(from, id), head).unwrap_err();
        let ErrorKind::Diverged { seq: found, here, there } = error.kind() else {
            panic!("{error}")
        };
        assert!(*found == seq && here != there, "{error}");
        assert_eq!(export(to, id), before, "it is as it was");
        assert_sound(to);
    };
    diverged(two, one, &here.head, parted);
    diverged(one, two, &there.head, parted);
    // Refusals make a difference too.
    let [three, four] = ["three", "four"].map(|name| {
        let store = small().open(directory.path().join(name)).unwrap();
        import(&store, &export(one, id), &here.head).unwrap();
        store
    });
    let mut plain = here.twin();
    append(one, &[here.refuse()], &[]).unwrap();
    import(&three, &export(one, id), &here.head).unwrap();
    assert_eq!(export(&three, id), export(one, id), "a refusal is taken by itself");
    let error = import(one, &export(&four, id), &plain.head).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::HereAlready { .. }), "one refusal less: {error}");
    append(&four, &[plain.step()], &[]).unwrap();
    diverged(&three, &four, &plain.head, parted);
    append(&three, &[here.step()], &[]).unwrap();
    diverged(&four, &three, &here.head, parted + 1);
    import(one, &export(&three, id), &here.head).unwrap();
}

#[test]
fn what_goes_on_here_while_it_is_imported_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("two");
    let one = small().open(directory.path().join("one")).unwrap();
    let two = small().open(&path).unwrap();
    let mut author = lived(&one, 4);
    let id = author.head.id;
    import(&two, &export(&one, id), &author.head).unwrap();
    let mut other = author.twin();
    append(&one, &[author.step(), author.refuse(), author.step()], &[]).unwrap();
    let bytes = export(&one, id);
    let (_, seal) = read(&bytes).unwrap();
    let (store, mut appended) = (&two, false);
    // The appends happen before the last bytes are read.
    let from = During {
        from: &bytes[..],
        left: bytes.len() - 60,
        during: || {
            if !std::mem::replace(&mut appended, true) {
                append(store, &[other.step()], &[]).unwrap();
            }
        },
    };
    let error = two.import(from, &author.head, seal).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict { .. }), "{error}");
    assert_eq!(two.head(id).unwrap().unwrap().head, other.head);
    assert_sound(&two);
    append(&two, &[other.step()], &[]).unwrap();
    assert_sound(&two);
    drop(two);
    let two = small().open(&path).unwrap();
    assert_eq!(two.head(id).unwrap().unwrap().head, other.head);
}

/// Reads on, and does something else before the last bytes.
struct During<'a, F> {
    from: &'a [u8],
    left: usize,
    during: F,
}

impl<F: FnMut()> std::io::Read for During<'_, F> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(to)?;
        self.left = self.left.saturating_sub(read);
        if self.left == 0 {
            (self.during)();
        }
        Ok(read)
    }
}

/// Both copies of an object fired their timers, and neither knew.
#[test]
fn an_object_that_was_moved_away_ends_until_it_comes_back() {
    let directory = TempDir::new().unwrap();
    let mut paths = ["one", "two"].map(|name| directory.path().join(name));
    let mut one = small().open(&paths[0]).unwrap();
    let two = small().open(&paths[1]).unwrap();
    let mut author = lived(&one, 4);
    while author.head.header.wake.is_none() {
        append(&one, &[author.next()], &[]).unwrap();
    }
    let (id, wake) = (author.head.id, author.head.header.wake.unwrap());
    one.checkpoint().unwrap();
    assert!(one.set_moved(id, true).unwrap());
    assert!(!one.set_moved(id, true).unwrap(), "it is already");
    for round in 0..3 {
        assert!(one.info(id).unwrap().unwrap().moved, "round {round}");
        assert_eq!(one.wakes_until(Time::MAX).unwrap(), [], "round {round}");
        let mut ahead = author.twin();
        for made in [ahead.refuse(), author.twin().step()] {
            let error = append(&one, &[made], &[]).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Moved), "{error}");
        }
        assert_eq!(one.head(id).unwrap().unwrap().head, author.head, "it can be read");
        assert_sound(&one);
        one = reopen(one, &mut paths[0], round == 1);
    }
    let bytes = export(&one, id);
    let error = import(&one, &bytes, &author.head).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::HereAlready { moved: true, .. }), "{error}");
    import(&two, &bytes, &author.head).unwrap();
    assert_eq!(two.wakes_until(Time::MAX).unwrap(), [(wake, id)]);
    assert!(one.set_moved(id, false).unwrap());
    assert_eq!(one.wakes_until(Time::MAX).unwrap(), [(wake, id)]);
    one.checkpoint().unwrap();
    assert!(one.set_moved(id, true).unwrap());
    append(&two, &[author.step()], &[]).unwrap();
    import(&one, &export(&two, id), &author.head).unwrap();
    let info = one.info(id).unwrap().unwrap();
    assert_eq!((info.moved, info.hash), (false, author.head.hash));
    append(&one, &[author.step()], &[]).unwrap();
    one = reopen(one, &mut paths[0], true);
    assert_eq!(one.head(id).unwrap().unwrap().head, author.head);
    assert!(!one.info(id).unwrap().unwrap().moved);
    let wakes: Vec<_> = author.head.header.wake.into_iter().map(|wake| (wake, id)).collect();
    assert_eq!(one.wakes_until(Time::MAX).unwrap(), wakes);
    assert_sound(&one);
}

#[test]
fn a_secret_is_beside_its_object_in_the_log_and_in_a_capsule_and_nowhere_else() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let author = lived(&store, 11);
    let secret = store.genesis(author.head.id).unwrap().secret().unwrap().encode();
    let drawn = &secret[1..];
    assert_eq!(drawn.len(), 32);
    let count = |bytes: &[u8]| bytes.windows(32).filter(|window| *window == drawn).count();
    let bytes = export(&store, author.head.id);
    for (kind, body) in sections(&bytes) {
        assert_eq!(count(&body), usize::from(kind == SectionKind::Secret), "{kind:?}");
    }
    store.close().unwrap();
    let read = |name: &str| std::fs::read(path.join(name)).unwrap();
    assert_eq!(count(&read("log/00000001.log")), 1);
    assert!(read("index.redb").len() > 4096);
    assert_eq!(count(&read("index.redb")), 0);
}
