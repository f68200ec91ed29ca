//! Salts: of the hashes of payloads, and of memories whose code has a place for one.

use std::collections::HashSet;
use std::io::Cursor;

use continuant::object::capsule::{Chain, HEAD, SectionKind};
use continuant::object::refusal::Refusal;
use continuant::object::secret::Secret;
use continuant::storage::CapsuleReader;
use continuant::{
    Code, Database, ErrorKind, ModuleErrorKind, ObjectId, Replay, Upgrade, args, verify_capsule,
};

use crate::objects::{Fixture, OPEN, capsule, check_anywhere, counter_code, key, module};

type Sections = Vec<(SectionKind, Vec<u8>)>;

/// The sections of a capsule, but for its end.
fn sections(capsule: &[u8]) -> Sections {
    let mut reader = CapsuleReader::new(capsule).unwrap();
    let mut sections = Vec::new();
    while let Some((kind, body)) = reader.next().unwrap() {
        sections.push((kind, body.to_vec()));
    }
    sections.pop();
    sections
}

fn sealed(sections: &Sections) -> Vec<u8> {
    let (mut bytes, mut chain) = (HEAD.to_vec(), Chain::new());
    let end = (SectionKind::End, (sections.len() as u64).to_le_bytes().to_vec());
    for (kind, body) in sections.iter().chain([&end]) {
        let (head, check) = chain.section(*kind, body);
        bytes.extend([&head[..], body, &check].concat());
    }
    bytes
}

#[test]
fn payloads_that_are_alike_have_other_hashes_in_each_version_and_object() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let mut hashes = HashSet::new();
    let mut count = 0;
    for secret in [1, 2] {
        let id = db.create(counter_code(OPEN).secret([secret; 32])).unwrap();
        for _ in 0..70 {
            db.call(id, "fail", args![]).wait().unwrap_err();
            db.call(id, "add", args![1u64]).wait().unwrap();
        }
        for seq in 0..=70 {
            let header = db.at(id, seq).unwrap().header().clone();
            hashes.extend([header.input.0, header.effects.0, header.admission.0]);
            count += 3;
        }
        let all = sections(&capsule(&db, id)).into_iter();
        let refusals = all.filter(|section| section.0 == SectionKind::Refusal);
        for (_, body) in refusals {
            hashes.insert(Refusal::decode(&body).unwrap().refused.0);
            count += 1;
        }
    }
    assert!(count > 2 * 213 + 20, "{count}");
    assert_eq!(hashes.len(), count);
}

#[test]
fn the_secret_is_drawn_or_given_and_makes_the_object_another() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let create = |code: Code| db.create(code).unwrap();
    let given = create(counter_code(OPEN).secret([1; 32]));
    let others = [
        create(counter_code(OPEN).secret([2; 32])),
        create(counter_code(OPEN)),
        create(counter_code(OPEN)),
        db.fork(given, 0, None).unwrap(),
        db.fork(given, 0, None).unwrap(),
    ];
    let ids: HashSet<ObjectId> = others.into_iter().chain([given]).collect();
    assert_eq!(ids.len(), 6);
    let secret = |id| sections(&capsule(&db, id)).swap_remove(0);
    assert_eq!(secret(given), (SectionKind::Secret, Secret::new([1; 32]).encode()));
    let secrets: HashSet<Vec<u8>> = ids.into_iter().map(|id| secret(id).1).collect();
    assert_eq!(secrets.len(), 6);
    assert!(db.create(counter_code(OPEN).secret([1; 32])).is_err(), "it is there already");
}

#[test]
fn a_capsule_has_its_objects_secret_and_no_other() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN).secret([1; 32])).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    db.call(id, "fail", args![]).wait().unwrap_err();
    let whole = sections(&capsule(&db, id));
    assert_eq!(whole[0].0, SectionKind::Secret);
    let verify = |sections: &Sections| {
        let bytes = sealed(sections);
        let verified = [Replay::No, Replay::Yes]
            .map(|replay| verify_capsule(Cursor::new(bytes.clone()), replay).map(|it| it.versions));
        let [plain, replayed] = verified;
        assert_eq!(plain.is_ok(), replayed.is_ok());
        replayed
    };
    assert_eq!(verify(&whole).unwrap(), 2);
    let error = verify(&whole[1..].to_vec()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Section { .. }), "{error}");
    let secret = Secret::new([1; 32]);
    for other in [Secret::new([2; 32]), secret.since(1).unwrap()] {
        let mut changed = whole.clone();
        changed[0].1 = other.encode();
        let error = verify(&changed).unwrap_err();
        assert_eq!(error.to_string(), "secret of version 0: expected the object's, found another");
    }
    let mut changed = whole.clone();
    changed[0].1.push(0);
    let error = verify(&changed).unwrap_err().to_string();
    assert!(error.starts_with("secret: at offset 33 expected the end"), "{error}");
    // A refusal's input and detail are covered by its salted hash.
    let (at, last) = (whole.len() - 1, whole[whole.len() - 1].1.len() - 1);
    let mut changed = whole.clone();
    changed[at].1[last - 20] ^= 1;
    verify(&changed).unwrap_err();
}

/// A module whose salt is behind its state; `set(n)` sets all that it has.
fn salted(salt: &str) -> Vec<u8> {
    module(
        "record before { n: u64 } record state { n: u64 } set: func(n: u64);
         migrate: func(before: before);",
        "",
        &format!(
            r#"{salt}
               (func (export "set") (param i64) (i64.store (i32.const 4096) (local.get 0)))
               (func (export "migrate") (param i32)
                 (i64.store (i32.const 4096) (i64.load (local.get 0))))
               (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                 (i32.const 32768))"#
        ),
    )
}

const AT_5000: &str = r#"(global (export "salt") i32 (i32.const 5000))"#;
const AT_8180: &str = r#"(global (export "salt") i32 (i32.const 8180))"#;

/// Everyone may do anything, and the key of secret 1 may upgrade.
fn upgradable() -> String {
    let keeper = key(1).public();
    format!(
        r#"{OPEN} @id("keeper") permit(principal == Key::"{keeper}",
            action == Action::"upgrade", resource);"#
    )
}

fn salt(db: &Database, id: ObjectId, address: usize) -> [u8; 32] {
    let memory = db.snapshot(id).unwrap().memory_bytes();
    *memory[address..].first_chunk().unwrap()
}

#[test]
fn a_memory_begins_with_its_salt_and_a_fork_has_the_same() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let create = |salt: &str, secret: u8| {
        let code = Code::wasm(salted(salt)).unwrap().policy(OPEN).secret([secret; 32]);
        let id = db.create(code).unwrap();
        db.call(id, "set", args![7u64]).wait().unwrap();
        id
    };
    let root = |id| db.snapshot(id).unwrap().header().memory_root;
    let (one, other) = (create(AT_5000, 1), create(AT_5000, 2));
    assert_eq!(salt(&db, one, 5000), Secret::image_salt(&[1; 32]));
    assert_eq!(salt(&db, other, 5000), Secret::image_salt(&[2; 32]));
    assert_ne!(root(one), root(other), "what they hold cannot be guessed");
    assert_eq!(root(create("", 1)), root(create("", 2)), "it can, without a salt");
    assert_eq!(salt(&db, create(AT_8180, 3), 8180), Secret::image_salt(&[3; 32]), "over two pages");
    let fork = db.fork(one, 1, None).unwrap();
    assert_eq!(salt(&db, fork, 5000), Secret::image_salt(&[1; 32]));
    assert_eq!(root(fork), root(one));
    db.verify(fork, Replay::Yes).unwrap();
    check_anywhere(&fixture, db, one);
}

#[test]
fn an_upgrade_takes_the_salt_along_if_both_codes_have_a_place_for_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(Code::wasm(salted(AT_5000)).unwrap().policy(upgradable())).unwrap();
    let first = salt(&db, id, 5000);
    assert_ne!(first, [0; 32]);
    let upgrade = |salt: &str| {
        let to = Upgrade::wasm(salted(salt)).unwrap();
        db.upgrade(id, &to).signed(&key(1)).wait().unwrap();
    };
    upgrade(AT_8180);
    assert_eq!((salt(&db, id, 8180), salt(&db, id, 4980)), (first, [0; 32]));
    upgrade("");
    assert_eq!(salt(&db, id, 8180), [0; 32]);
    upgrade(AT_5000);
    assert_eq!(salt(&db, id, 5000), [0; 32], "it is gone");
    check_anywhere(&fixture, db, id);
}

/// A section that says where the salt is, in the text of a module.
fn section(bytes: &[u8]) -> String {
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!(r#"(@custom "continuant:salt" "{escaped}")"#)
}

#[test]
fn a_section_says_where_the_salt_is_from_the_state_on() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let create =
        |salt: &str| db.create(Code::wasm(salted(salt)).unwrap().policy(OPEN).secret([1; 32]));
    let id = create(&section(&904_u32.to_le_bytes())).unwrap();
    assert_eq!(salt(&db, id, 5000), Secret::image_salt(&[1; 32]), "the state is at 4096");
    let refused = |salt: &str| create(salt).unwrap_err().to_string();
    let one = section(&904_u32.to_le_bytes());
    for (salt, expected) in [
        (section(&[136, 3]), "expected 4 bytes, found 2 bytes"),
        (section(&[]), "expected 4 bytes, found 0 bytes"),
        (format!("{one}{one}"), "expected one such section, found another one"),
        (format!("{one}{AT_5000}"), "expected it or the export salt, found both"),
        (section(&61_409_u32.to_le_bytes()), "within the initial memory, found 65505"),
        (section(&u32::MAX.to_le_bytes()), "within the initial memory, found 4294971391"),
        (section(&0_u32.to_le_bytes()), "expected 32 bytes beside the state record, found 4096"),
    ] {
        let error = refused(&salt);
        assert!(error.contains(expected), "{error}");
    }
    let outside = create(&section(&61_409_u32.to_le_bytes())).unwrap_err();
    let ErrorKind::Module(module) = outside.kind() else { panic!("{outside}") };
    assert_eq!(module.kind(), ModuleErrorKind::Section, "the place is what the section says");
}

#[test]
fn a_salt_has_room_in_the_initial_memory_beside_the_state() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let create = |salt: &str| db.create(Code::wasm(salted(salt)).unwrap().policy(OPEN));
    let refused = |salt: &str| create(salt).unwrap_err().to_string();
    let at = |address: u32| format!(r#"(global (export "salt") i32 (i32.const {address}))"#);
    let beside = |address: u32| {
        let error = refused(&at(address));
        assert!(error.contains("salt: expected 32 bytes beside the state record"), "{error}");
    };
    [4065, 4096, 4103].into_iter().for_each(beside);
    for address in [4064, 4104, 65_504] {
        create(&at(address)).unwrap();
    }
    for address in [65_505, 65_536, u32::MAX, u32::MAX - 40] {
        let error = refused(&at(address));
        assert!(error.contains("expected 32 bytes within the initial memory"), "{error}");
    }
    let global = "expected an immutable i32 global with a constant initialiser, found";
    for (export, found) in [
        (r#"(global (export "salt") (mut i32) (i32.const 5000))"#, "a mutable global"),
        (r#"(global (export "salt") i64 (i64.const 5000))"#, "a global of i64"),
        (r#"(func (export "salt"))"#, "an export that is not a global"),
    ] {
        let error = refused(export);
        assert!(error.contains(&format!("export salt: {global} {found}")), "{error}");
    }
    let stack = r#"(global (export "__stack_pointer") (mut i32) (i32.const 4096))"#;
    let error = refused(&format!("{stack} {}", at(4000)));
    assert!(error.contains("an address of at least 4096, the top of the stack"), "{error}");
}
