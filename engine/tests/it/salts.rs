//! Salts: of the hashes of payloads, and of memories whose code has a place for one.

use std::collections::HashSet;
use std::io::Cursor;

use continuant::object::capsule::{Chain, HEAD, SectionKind};
use continuant::object::refusal::Refusal;
use continuant::object::secret::Secret;
use continuant::storage::CapsuleReader;
use continuant::{Code, ErrorKind, ObjectId, Replay, args, verify_capsule};

use crate::objects::{Fixture, OPEN, capsule, counter_code};

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
