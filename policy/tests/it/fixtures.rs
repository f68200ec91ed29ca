//! Capsules of each version of the format. Once it is released they are never deleted and never
//! change: they must verify for as long as this project exists.

use std::sync::Arc;

use continuant_policy::definition::Definition;
use continuant_policy::verify::Verifier;
use expect_test::expect;
use object::capsule::{Chain, HEAD, SECTION_CHECK_BYTES, SECTION_HEAD_BYTES, SectionKind};
use object::commit::Commit;
use object::image::BaseImage;
use object::refusal::Refusal;
use object::secret::Secret;
use object::{Error, ErrorKind};

use crate::source::Source;
use crate::workshop::{self, run};

/// Version 2: calls, direct writes, a cycle, signatures and refusals.
const VERSION_2: &[u8] = include_bytes!("../fixtures/version-2.continuant");

/// Version 2: inputs of batches.
const BATCHES: &[u8] = include_bytes!("../fixtures/batches.continuant");

/// Version 2: sessions.
const SESSIONS: &[u8] = include_bytes!("../fixtures/sessions.continuant");

/// Version 2: messages.
const MESSAGES: &[u8] = include_bytes!("../fixtures/messages.continuant");

/// The sections of a capsule, or where it is damaged.
fn sections(capsule: &[u8]) -> Result<Vec<(SectionKind, &[u8])>, String> {
    let mut rest = capsule.strip_prefix(&HEAD).ok_or("no capsule")?;
    let mut chain = Chain::new();
    let mut found = Vec::new();
    let cut = |chain: &Chain| format!("cut at {}", chain.offset());
    loop {
        let (head, more) = rest.split_first_chunk::<SECTION_HEAD_BYTES>().ok_or(cut(&chain))?;
        let (kind, count) = chain.announced(head).map_err(|error: Error| error.to_string())?;
        let (body, more) = more.split_at_checked(count as usize).ok_or(cut(&chain))?;
        let (check, more) = more.split_first_chunk::<SECTION_CHECK_BYTES>().ok_or(cut(&chain))?;
        chain.verify(head, body, check).map_err(|error| error.to_string())?;
        if kind == SectionKind::End {
            return if more.is_empty() { Ok(found) } else { Err("more".to_string()) };
        }
        found.push((kind, body));
        rest = more;
    }
}

fn verify(capsule: &[u8]) -> Result<Verifier, String> {
    let text = |error: Error| error.to_string();
    let sections = sections(capsule)?;
    use SectionKind::{Base, Code, Policy};
    let [(SectionKind::Secret, secret), (Code, code), (Policy, policy), (Base, base), ..] =
        sections[..]
    else {
        return Err("no object".to_string());
    };
    let secret = Secret::decode(secret).map_err(text)?;
    let definition = Arc::new(Definition::decode(code, policy).map_err(text)?);
    let base = Arc::new(BaseImage::decode(base).map_err(text)?);
    let mut records = sections[4..].iter();
    let genesis = records.next().ok_or("no genesis")?;
    let genesis = Commit::decode(genesis.1).map_err(text)?;
    let mut verifier = Verifier::genesis(definition, base, &genesis, secret).map_err(text)?;
    for (kind, body) in records {
        match kind {
            SectionKind::Commit => verifier.commit(&Commit::decode(body).map_err(text)?),
            _ => verifier.refusal(&Refusal::decode(body).map_err(text)?),
        }
        .map_err(text)?;
    }
    Ok(verifier)
}

/// Returns whether a lineage is made as the committed capsule has it; `WRITE_FIXTURE=1` commits it.
fn is_as_committed(name: &str, made: &[u8], committed: &[u8]) -> bool {
    if std::env::var_os("WRITE_FIXTURE").is_none() {
        return made == committed;
    }
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::write(fixtures.join(format!("{name}.continuant")), made).unwrap();
    true
}

#[test]
fn the_capsule_of_version_2_verifies() {
    run(|| {
        let verifier = verify(VERSION_2).unwrap();
        let head = verifier.head();
        let state = verifier.definition().schema.read_state(verifier.image(), 4096).unwrap();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\nstate {}\n",
            head.id,
            head.header.seq,
            head.hash,
            head.refusal_count,
            state.to_json().to_string().replace(",\"", ",\n  \"")
        );
        expect![[r#"
            object 5942f718d0c8da9b27acb544271e6de4a7e655f5854289b05636184651a3f611
            version 5 bf962e71009ab616446faa11a714c6ba14b658083e24a71d40f9b0de7cd31991
            refusals 4
            state {"count":14,
              "locked":true,
              "byte":0,
              "short":0,
              "word":0,
              "heat":0.0,
              "height":0.0,
              "tiny":0,
              "low":0,
              "deep":0,
              "far":0,
              "mark":"\u0000",
              "light":"red",
              "needs":[],
              "spot":{"row":7,
              "column":"\u0000"},
              "at":[0,false],
              "next":null,
              "event":{"delay":0},
              "done":{"ok":0},
              "name":"",
              "log":""}
        "#]]
        .assert_eq(&found);
    });
}

/// A second proof that nothing about the encodings has changed.
#[test]
fn the_capsule_of_version_2_is_made_the_same_today() {
    run(|| {
        let capsule = workshop::lineage().capsule();
        assert!(is_as_committed("version-2", &capsule, VERSION_2));
    });
}

#[test]
fn the_capsule_of_batches_verifies_and_is_made_the_same_today() {
    run(|| {
        assert!(is_as_committed("batches", &workshop::batched().capsule(), BATCHES));
        let verifier = verify(BATCHES).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 5942f718d0c8da9b27acb544271e6de4a7e655f5854289b05636184651a3f611
            version 3 6ca4b2b4e250ee9e584de64161cd314b18de7a62bd6087cd910448eb7972edb1
            refusals 1
        "#]]
        .assert_eq(&found);
    });
}

#[test]
fn the_capsule_of_sessions_verifies_and_is_made_the_same_today() {
    run(|| {
        assert!(is_as_committed("sessions", &workshop::sessions().capsule(), SESSIONS));
        let verifier = verify(SESSIONS).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 117862a48d609b09dee0e11513e7d397199802744bec1f2267e572f2ce96e471
            version 5 fb91a11a4ccbba26575f05c3b1d1c381cdfe92fedab9c8fc9d14035645ad214d
            refusals 5
        "#]]
        .assert_eq(&found);
    });
}

#[test]
fn the_capsule_of_messages_verifies_and_is_made_the_same_today() {
    run(|| {
        assert!(is_as_committed("messages", &workshop::messages().capsule(), MESSAGES));
        let verifier = verify(MESSAGES).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 801af6a8648a49b4b5a6051cbcbded739fcc8f412120c3aa97634ce148af537c
            version 3 1dbaf09b57473778784c755ccf9eea83967f2235ef90aaa13e9b64c264919b26
            refusals 3
        "#]]
        .assert_eq(&found);
    });
}

#[test]
fn a_changed_byte_anywhere_in_a_capsule_is_found() {
    let mut capsule = VERSION_2.to_vec();
    let mut source = Source::random();
    // Every byte outside of pages, and some of every page.
    let all = (0..capsule.len()).filter(|&at| capsule[at] != capsule[at.saturating_sub(1)]);
    let mut places: Vec<usize> = all.collect();
    places.extend((0..200).map(|_| source.below(capsule.len())));
    for at in places {
        for flip in [0x01, 0x80, 0xFF] {
            capsule[at] ^= flip;
            assert!(sections(&capsule).is_err(), "byte {at}");
            capsule[at] ^= flip;
        }
    }
    assert!(sections(&capsule).is_ok());
}

#[test]
fn a_capsule_that_is_cut_or_longer_is_found() {
    for end in (0..VERSION_2.len()).step_by(7) {
        assert!(sections(&VERSION_2[..end]).is_err(), "{end} bytes");
    }
    let longer = [VERSION_2, &[0]].concat();
    assert!(sections(&longer).is_err());
}

#[test]
fn sections_that_are_left_out_or_moved_are_found() {
    let mut ranges = Vec::new();
    let mut start = HEAD.len();
    for (_, body) in sections(VERSION_2).unwrap() {
        let end = start + SECTION_HEAD_BYTES + body.len() + SECTION_CHECK_BYTES;
        ranges.push(start..end);
        start = end;
    }
    for (index, range) in ranges.iter().enumerate() {
        let (before, after) = (&VERSION_2[..range.start], &VERSION_2[range.end..]);
        assert!(sections(&[before, after].concat()).is_err(), "without section {index}");
        let twice = [before, &VERSION_2[range.clone()], &VERSION_2[range.clone()], after];
        assert!(sections(&twice.concat()).is_err(), "section {index} twice");
        if let Some(next) = ranges.get(index + 1) {
            let (one, other) = (&VERSION_2[range.clone()], &VERSION_2[next.clone()]);
            let moved = [before, other, one, &VERSION_2[next.end..]];
            assert!(sections(&moved.concat()).is_err(), "section {index} behind the next");
        }
    }
}

#[test]
fn a_section_is_of_a_known_kind_and_of_the_length_that_it_announces() {
    let chain = Chain::new();
    let kind = |code: u8| chain.announced(&[code, 1, 0, 0, 0]);
    assert_eq!(kind(0).unwrap(), (SectionKind::Code, 1));
    assert_eq!(kind(5).unwrap(), (SectionKind::End, 1));
    assert_eq!(kind(6).unwrap(), (SectionKind::Packed, 1));
    assert_eq!(kind(7).unwrap(), (SectionKind::Secret, 1));
    expect!["capsule section: at offset 16 expected a known kind, found 8"]
        .assert_eq(&kind(8).unwrap_err().to_string());
    let error = chain.announced(&[0, 0, 0, 0, 0xFF]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode { .. }), "{error}");
    // Regression: a body of another length was taken, if its check was made to fit.
    let (mut one, mut other) = (Chain::new(), Chain::new());
    let (head, _) = one.section(SectionKind::Code, b"four");
    let error = other.verify(&head, b"three", &[0; 32]).unwrap_err();
    expect!["capsule section: at offset 16 expected 4 bytes, found 5"]
        .assert_eq(&error.to_string());
}
