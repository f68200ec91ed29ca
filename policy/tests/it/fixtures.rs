//! Capsules committed with the first release of each version of the format. They are never deleted
//! and never change: they must verify for as long as this project exists.

use std::sync::Arc;

use continuant_policy::definition::Definition;
use continuant_policy::verify::Verifier;
use expect_test::expect;
use object::capsule::{Chain, HEAD, SECTION_CHECK_BYTES, SECTION_HEAD_BYTES, SectionKind};
use object::commit::Commit;
use object::image::BaseImage;
use object::refusal::Refusal;
use object::{Error, ErrorKind};

use crate::source::Source;
use crate::workshop::{self, ATTENDED, Workshop, kin, run};

/// Version 1: calls, direct writes, a cycle, signatures and refusals.
const VERSION_1: &[u8] = include_bytes!("../fixtures/version-1.continuant");

/// Version 1: inputs of batches.
const BATCHES: &[u8] = include_bytes!("../fixtures/batches.continuant");

/// Version 1: sessions.
const SESSIONS: &[u8] = include_bytes!("../fixtures/sessions.continuant");

/// Version 1: messages.
const MESSAGES: &[u8] = include_bytes!("../fixtures/messages.continuant");

/// Version 1: sessions, in ledgers whose nonces have floors.
const FLOORS: &[u8] = include_bytes!("../fixtures/floors.continuant");

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
    let [(SectionKind::Code, code), (SectionKind::Policy, policy), (SectionKind::Base, base), ..] =
        sections[..]
    else {
        return Err("no object".to_string());
    };
    let definition = Arc::new(Definition::decode(code, policy).map_err(text)?);
    let base = Arc::new(BaseImage::decode(base).map_err(text)?);
    let mut records = sections[3..].iter();
    let genesis = records.next().ok_or("no genesis")?;
    let genesis = Commit::decode(genesis.1).map_err(text)?;
    let mut verifier = Verifier::genesis(definition, base, &genesis).map_err(text)?;
    for (kind, body) in records {
        match kind {
            SectionKind::Commit => verifier.commit(&Commit::decode(body).map_err(text)?),
            _ => verifier.refusal(&Refusal::decode(body).map_err(text)?),
        }
        .map_err(text)?;
    }
    Ok(verifier)
}

#[test]
fn the_capsule_of_version_1_verifies() {
    run(|| {
        let verifier = verify(VERSION_1).unwrap();
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
            object 891e933aa44faa09c5e0f3fd54e93899583ef9890afafdd2b234829999f14a98
            version 5 1d7cb9b4561549948060b1173245e2328a075a3578fd7b2c690eb5fc907b23d4
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
fn the_capsule_of_version_1_is_made_the_same_today() {
    run(|| {
        let capsule = workshop::lineage_in(Workshop::new().of_before()).capsule();
        assert!(capsule == VERSION_1);
    });
}

#[test]
fn the_capsule_of_batches_verifies_and_is_made_the_same_today() {
    run(|| {
        let verifier = verify(BATCHES).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 891e933aa44faa09c5e0f3fd54e93899583ef9890afafdd2b234829999f14a98
            version 3 16186cd76c052ec568405a064700bd282ed55dfb793ac17f3ee81e3ff06d5a0d
            refusals 1
        "#]]
        .assert_eq(&found);
        assert!(workshop::batched_in(Workshop::new().of_before()).capsule() == BATCHES);
    });
}

#[test]
fn the_capsule_of_sessions_verifies_and_is_made_the_same_today() {
    run(|| {
        let verifier = verify(SESSIONS).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 93094a2ff64fd9553b4e92d48a1d13609de5afe037f2ea2b5e863ca882dcc660
            version 5 e1493538a67e47b2aac5d8a5efa6f6f4eb3bf59a0161d892770127d705334d6d
            refusals 5
        "#]]
        .assert_eq(&found);
        let shop = Workshop::governed_by(ATTENDED).of_before();
        assert!(workshop::sessions_in(shop).capsule() == SESSIONS);
    });
}

#[test]
fn the_capsule_of_messages_verifies_and_is_made_the_same_today() {
    run(|| {
        let verifier = verify(MESSAGES).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 280707ba137633c17492205bfa4eb665aa8d5f52db7ec267971d86918442dc40
            version 3 41231f9ec4deebbff306afb628208ca823e24e4a44049d1357e7473bb330f81f
            refusals 3
        "#]]
        .assert_eq(&found);
        let shop = Workshop::governed_by(&kin()).of_before();
        assert!(workshop::messages_in(shop).capsule() == MESSAGES);
    });
}

#[test]
fn the_capsule_of_floors_verifies_and_is_made_the_same_today() {
    run(|| {
        let verifier = verify(FLOORS).unwrap();
        let head = verifier.head();
        let found = format!(
            "object {}\nversion {} {}\nrefusals {}\n",
            head.id, head.header.seq, head.hash, head.refusal_count
        );
        expect![[r#"
            object 93094a2ff64fd9553b4e92d48a1d13609de5afe037f2ea2b5e863ca882dcc660
            version 5 4a68ce34497b08167e3cd739a8139b4f006c4ccdae84f814db25f3b068f09159
            refusals 5
        "#]]
        .assert_eq(&found);
        assert!(workshop::sessions().capsule() == FLOORS);
    });
}

#[test]
fn a_changed_byte_anywhere_in_a_capsule_is_found() {
    let mut capsule = VERSION_1.to_vec();
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
    for end in (0..VERSION_1.len()).step_by(7) {
        assert!(sections(&VERSION_1[..end]).is_err(), "{end} bytes");
    }
    let longer = [VERSION_1, &[0]].concat();
    assert!(sections(&longer).is_err());
}

#[test]
fn sections_that_are_left_out_or_moved_are_found() {
    let mut ranges = Vec::new();
    let mut start = HEAD.len();
    for (_, body) in sections(VERSION_1).unwrap() {
        let end = start + SECTION_HEAD_BYTES + body.len() + SECTION_CHECK_BYTES;
        ranges.push(start..end);
        start = end;
    }
    for (index, range) in ranges.iter().enumerate() {
        let (before, after) = (&VERSION_1[..range.start], &VERSION_1[range.end..]);
        assert!(sections(&[before, after].concat()).is_err(), "without section {index}");
        let twice = [before, &VERSION_1[range.clone()], &VERSION_1[range.clone()], after];
        assert!(sections(&twice.concat()).is_err(), "section {index} twice");
        if let Some(next) = ranges.get(index + 1) {
            let (one, other) = (&VERSION_1[range.clone()], &VERSION_1[next.clone()]);
            let moved = [before, other, one, &VERSION_1[next.end..]];
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
    expect!["capsule section: at offset 16 expected a known kind, found 7"]
        .assert_eq(&kind(7).unwrap_err().to_string());
    let error = chain.announced(&[0, 0, 0, 0, 0xFF]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Decode { .. }), "{error}");
    // Regression: a body of another length was taken, if its check was made to fit.
    let (mut one, mut other) = (Chain::new(), Chain::new());
    let (head, _) = one.section(SectionKind::Code, b"four");
    let error = other.verify(&head, b"three", &[0; 32]).unwrap_err();
    expect!["capsule section: at offset 16 expected 4 bytes, found 5"]
        .assert_eq(&error.to_string());
}
