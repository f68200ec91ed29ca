//! Lineages with one record forged and all its hashes recomputed, and the words of the refusals.

use std::time::Duration;

use expect_test::{Expect, expect};
use object::credential::{Credential, PublicKey};
use object::effects::{Output, WakeChange};
use object::hash::{ObjectId, RefusalHash, VersionHash};
use object::image::Image;
use object::input::{Input, Request};
use object::limits::PAGE_BYTES;
use object::memory::Tree;
use object::refusal::{Reason, Refusal};
use object::time::Time;

use super::{CALL, CYCLE, SIGNED, WRITE};
use crate::workshop::{Parts, Record, START, lineage, run, shared};
use crate::wrap::wrap;

/// The refusals of `lineage`: the policy's, of a write; the nonce's; the cycle's.
const POLICY: usize = 4;
const NONCE: usize = 5;
const NOT_DUE: usize = 6;

/// Returns the error for the lineage up to `at` after `forge` changed that record.
fn forge(at: usize, forge: impl FnOnce(&mut Parts)) -> String {
    let shop = lineage();
    let mut records = shop.records[..=at].to_vec();
    let Record::Commit(parts) = &mut records[at] else { panic!("{at} is a commit") };
    forge(parts);
    // The forger recomputes the hashes.
    parts.rehash();
    parts.header.page_count = parts.pages.len() as u32;
    if let Some(globals) = &parts.globals {
        parts.header.globals = object::effects::globals_hash(globals);
    }
    let before = match at {
        0 => Image::new(shop.base.clone()),
        _ => shop.verify(&records[..at]).unwrap().image().clone(),
    };
    let Record::Commit(parts) = &mut records[at] else { panic!("{at} is a commit") };
    if let Ok(after) = before.step(parts.header.memory_bytes, shared(&parts.pages)) {
        parts.header.memory_root = Tree::of(&after).root();
    }
    match shop.verify(&records) {
        Ok(_) => "holds".to_string(),
        Err(error) => wrap(&error.to_string().replace(|c: char| !c.is_ascii(), "?")),
    }
}

#[track_caller]
fn check(at: usize, change: impl FnOnce(&mut Parts) + Send, expected: Expect) {
    let found = run(|| forge(at, change));
    expected.assert_eq(&shorten(&found));
}

/// Hashes cut to their first digits.
fn shorten(text: &str) -> String {
    let words = text.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    words
        .map(|word| {
            if word.len() >= 64 {
                format!("{}..{}", &word[..6], &word[64..])
            } else {
                word.to_string()
            }
        })
        .collect()
}

#[test]
fn a_genesis_that_is_forged_is_refused() {
    check(0, |_| {}, expect!["holds"]);
    check(
        0,
        |parts| parts.input.request = Request::Cycle,
        expect!["request of version 0: expected create or fork, found advance"],
    );
    check(
        0,
        |parts| parts.input.request = Request::Create { salt: [5; 32], arguments: vec![1] },
        expect!["arguments: at offset 0 expected the end, found 1 more bytes"],
    );
    check(
        0,
        |parts| parts.admission.rules.push("anyone".into()),
        expect!["genesis of version 0: expected no signer and no rule, found some"],
    );
    check(
        0,
        |parts| parts.admission.signers.push(PublicKey([1; 32])),
        expect!["genesis of version 0: expected no signer and no rule, found some"],
    );
    check(
        0,
        |parts| parts.input.credential = Some(Credential::new(1, Time::from_millis(2))),
        expect!["genesis of version 0: expected no signer and no rule, found some"],
    );
    check(
        0,
        |parts| parts.pages.push((1, [2; PAGE_BYTES])),
        expect!["commit: at offset 4638 expected ascending pages below 4, found 1"],
    );
    check(
        0,
        |parts| parts.pages[0].1 = [0; PAGE_BYTES],
        expect!["pages of version 0: expected pages that differ, found page 3 as it was"],
    );
    check(
        0,
        |parts| parts.globals = Some(vec![7, 8]),
        expect!["globals of version 0: expected globals that differ, found those before"],
    );
    check(
        0,
        |parts| parts.globals = Some(vec![7, 8, 9]),
        expect!["globals of version 0: expected 2, found 3"],
    );
    check(
        0,
        |parts| parts.header.memory_bytes = 3 * PAGE_BYTES as u64,
        expect!["commit: at offset 538 expected ascending pages below 3, found 3"],
    );
    check(
        0,
        |parts| parts.input.time = parts.input.time.saturating_add(Duration::from_millis(1)),
        expect!["time of version 0: expected 1700000000001, found 1700000000000"],
    );
    check(
        0,
        |parts| parts.effects.wake = WakeChange::Set(Time::from_millis(9)),
        expect!["wake of version 0: expected 9, found none"],
    );
}

#[test]
fn a_call_that_is_forged_is_refused() {
    check(CALL, |_| {}, expect!["holds"]);
    check(
        CALL,
        |parts| parts.input.time = parts.input.time.saturating_add(Duration::from_millis(1)),
        expect!["time of version 2: expected 1700000002001, found 1700000002000"],
    );
    check(
        CALL,
        |parts| parts.input.time = Time::from_millis(1),
        expect!["time of version 2: expected 1700000001000 or later, found 1"],
    );
    check(
        CALL,
        |parts| parts.input.credential = None,
        expect![[r#"
            admission of version 2: expected Admission { signers: [], rules: ["anyone"],
                migrated: [] }, found Admission { signers:
                [PublicKey(8a88e3..)],
                rules: ["anyone"], migrated: [] }"#]],
    );
    check(
        CALL,
        |parts| credential(parts).nonce += 1,
        expect![[r#"
            admission of version 2: expected a permit, found credential: the signature of
                8a88e3.. does not
                verify"#]],
    );
    check(
        CALL,
        |parts| credential(parts).signatures_mut().clear(),
        expect!["admission of version 2: expected a permit, found credential: no signature"],
    );
    check(
        CALL,
        |parts| {
            let arguments = 13u64.to_le_bytes().to_vec();
            parts.input.request = Request::Call { method: "add".into(), arguments };
        },
        expect![[r#"
            admission of version 2: expected a permit, found credential: the signature of
                8a88e3.. does not
                verify"#]],
    );
    check(
        CALL,
        |parts| parts.admission.rules.push("itself".into()),
        expect![[r#"
            admission of version 2: expected Admission { signers:
                [PublicKey(8a88e3..)],
                rules: ["anyone"], migrated: [] }, found Admission { signers:
                [PublicKey(8a88e3..)],
                rules: ["anyone", "itself"], migrated: [] }"#]],
    );
}

#[test]
fn a_call_with_a_forged_outcome_is_refused() {
    check(
        CALL,
        |parts| parts.admission.signers.clear(),
        expect![[r#"
            admission of version 2: expected Admission { signers:
                [PublicKey(8a88e3..)],
                rules: ["anyone"], migrated: [] }, found Admission { signers: [], rules:
                ["anyone"], migrated: [] }"#]],
    );
    check(
        CALL,
        |parts| parts.globals = Some(vec![7, 8]),
        expect!["globals of version 2: expected globals that differ, found those before"],
    );
    check(
        CALL,
        |parts| parts.globals = Some(vec![7]),
        expect!["globals of version 2: expected 2, found 1"],
    );
    check(
        CALL,
        |parts| parts.pages[0].1[8] = 2,
        expect!["state.locked in memory: expected 0 or 1, found 0x2"],
    );
    check(
        CALL,
        |parts| parts.pages[0].1[..8].copy_from_slice(&1001u64.to_le_bytes()),
        expect!["admission of version 2: expected a permit, found forbidden by limit"],
    );
    check(
        CALL,
        |parts| parts.pages.insert(1, (3, [9; PAGE_BYTES])),
        expect!["pages of version 2: expected pages that differ, found page 3 as it was"],
    );
    check(
        CALL,
        |parts| parts.header.memory_bytes = 3 * PAGE_BYTES as u64,
        expect!["commit: at offset 4808 expected ascending pages below 3, found 5"],
    );
    check(
        CALL,
        |parts| parts.effects.wake = WakeChange::Keep,
        expect!["wake of version 2: expected none, found 1700000005000"],
    );
}

fn credential(parts: &mut Parts) -> &mut Credential {
    parts.input.credential.as_mut().unwrap()
}

#[test]
fn a_direct_write_that_is_forged_is_refused() {
    check(WRITE, |_| {}, expect!["holds"]);
    check(
        WRITE,
        |parts| parts.pages[0].1[0] = 1,
        expect!["pages of version 1: expected those of the request, found others"],
    );
    check(
        WRITE,
        |parts| parts.pages.clear(),
        expect!["pages of version 1: expected those of the request, found others"],
    );
    check(
        WRITE,
        |parts| parts.pages.push((2, [1; PAGE_BYTES])),
        expect!["pages of version 1: expected those of the request, found others"],
    );
    let output = || Output { name: "paid".into(), payload: vec![] };
    check(
        WRITE,
        |parts| parts.effects.outputs.push(output()),
        expect!["effects of version 1: expected those without the code, found others"],
    );
    check(
        WRITE,
        |parts| parts.effects.result = vec![1],
        expect!["effects of version 1: expected those without the code, found others"],
    );
    check(
        WRITE,
        |parts| parts.effects.wake = WakeChange::Set(Time::from_millis(START_LATER)),
        expect!["effects of version 1: expected those without the code, found others"],
    );
    check(
        WRITE,
        |parts| parts.header.fuel = 1,
        expect!["effects of version 1: expected those without the code, found others"],
    );
    check(
        WRITE,
        |parts| parts.globals = Some(vec![7, 9]),
        expect!["memory of version 1: expected as the request leaves it, found another"],
    );
    check(
        WRITE,
        |parts| parts.header.memory_bytes += PAGE_BYTES as u64,
        expect!["memory of version 1: expected as the request leaves it, found another"],
    );
}

#[test]
fn a_direct_write_with_a_forged_request_is_refused() {
    check(
        WRITE,
        |parts| parts.input.request = Request::Write { fields: vec![("gone".into(), vec![])] },
        expect![[r#"
            no field "gone"; there is count, locked, byte, short, word, heat, height, tiny,
                low, deep, far, mark, light, needs, spot, at, next, event, done, name, log"#]],
    );
    check(
        WRITE,
        |parts| parts.input.request = Request::Create { salt: [0; 32], arguments: vec![] },
        expect!["request of version 1: expected one that follows a genesis, found create"],
    );
    check(
        SIGNED,
        |parts| credential(parts).signatures_mut().truncate(1),
        expect![[r#"
            admission of version 3: expected Admission { signers:
                [PublicKey(813977..)],
                rules: ["anyone"], migrated: [] }, found Admission { signers:
                [PublicKey(813977..),
                PublicKey(8a88e3..)],
                rules: ["anyone"], migrated: [] }"#]],
    );
    check(
        SIGNED,
        |parts| credential(parts).signatures_mut().swap(0, 1),
        expect![[r#"
            admission of version 3: expected a permit, found credential: keys are not
                distinct and ascending"#]],
    );
    check(
        SIGNED,
        |parts| credential(parts).signatures_mut()[0].bytes[0] ^= 1,
        expect![[r#"
            admission of version 3: expected a permit, found credential: the signature of
                813977.. does not
                verify"#]],
    );
}

const START_LATER: u64 = START + 60_000;

#[test]
fn a_cycle_that_is_forged_is_refused() {
    check(CYCLE, |_| {}, expect!["holds"]);
    check(
        CYCLE,
        |parts| parts.input.time = parts.input.time.saturating_sub(Duration::from_millis(1)),
        expect![[r#"
        admission of version 4: expected a permit, found not-due: the next wake is at
            1700000005000, the time is 1700000004999"#]],
    );
    check(
        CYCLE,
        |parts| parts.effects.wake = WakeChange::Set(Time::from_millis(START_LATER)),
        expect!["wake of version 4: expected 1700000060000, found none"],
    );
    check(
        CYCLE,
        |parts| parts.header.wake = Some(Time::from_millis(START + 5000)),
        expect!["wake of version 4: expected none, found 1700000005000"],
    );
}

#[track_caller]
fn check_refusal(at: usize, change: impl FnOnce(&mut Refusal) + Send, expected: Expect) {
    let found = run(|| {
        let shop = lineage();
        let mut records = shop.records[..=at].to_vec();
        let Record::Refusal(refusal) = &mut records[at] else { panic!("{at} is a refusal") };
        change(refusal);
        let before = records[..at].iter().filter(|it| it.is_refusal()).count();
        records[at].rehash(before);
        match shop.verify(&records) {
            Ok(_) => "holds".to_string(),
            Err(error) => wrap(&error.to_string()),
        }
    });
    expected.assert_eq(&shorten(&found));
}

#[test]
fn a_refusal_that_is_forged_is_refused() {
    check_refusal(POLICY, |_| {}, expect!["holds"]);
    check_refusal(
        POLICY,
        |it| it.seq += 1,
        expect!["refusal of version 4: expected one that follows, found another"],
    );
    check_refusal(
        POLICY,
        |it| it.object = ObjectId([1; 32]),
        expect!["refusal of version 4: expected one that follows, found another"],
    );
    check_refusal(
        POLICY,
        |it| it.parent = VersionHash([1; 32]),
        expect!["refusal of version 4: expected one that follows, found another"],
    );
    check_refusal(
        POLICY,
        |it| it.previous = Some(RefusalHash([1; 32])),
        expect!["refusal of version 4: expected one that follows, found another"],
    );
    check_refusal(
        NONCE,
        |it| it.previous = None,
        expect!["refusal of version 4: expected one that follows, found another"],
    );
    check_refusal(
        POLICY,
        |it| it.input.truncate(3),
        expect!["input: at offset 1 expected 8 bytes, found 2 bytes"],
    );
    check_refusal(
        POLICY,
        |it| it.verdict.reason = Reason::Expired,
        expect!["refusal of version 4: expected none, found expired by locked"],
    );
}

#[test]
fn a_refusal_with_a_forged_verdict_or_input_is_refused() {
    check_refusal(
        NONCE,
        |it| it.verdict.reason = Reason::Reordered,
        expect!["refusal of version 4: expected replayed: nonce 2, found reordered: nonce 2"],
    );
    check_refusal(
        NONCE,
        |it| it.verdict.reason = Reason::NotPermitted,
        expect!["refusal of version 4: expected replayed: nonce 2, found not-permitted: nonce 2"],
    );
    check_refusal(
        NONCE,
        |it| it.verdict.detail.push('!'),
        expect!["refusal of version 4: expected replayed: nonce 2, found replayed: nonce 2!"],
    );
    check_refusal(
        NONCE,
        |it| it.verdict.rules.push("anyone".into()),
        expect![[r#"
        refusal of version 4: expected replayed: nonce 2, found replayed by anyone: nonce
            2"#]],
    );
    check_refusal(
        NOT_DUE,
        |it| it.verdict.reason = Reason::Trap,
        expect![[r#"
        refusal of version 4: expected not-due: the next wake is at 1700000005000, the
            time is 1700000004000, found trap: the next wake is at 1700000005000, the
            time is 1700000004000"#]],
    );
    let change = |it: &mut Refusal, change: &dyn Fn(&mut Input)| {
        let mut input = Input::decode(&it.input).unwrap();
        change(&mut input);
        it.input = input.encode();
    };
    let early = |it: &mut Refusal| change(it, &|input| input.time = Time::from_millis(1));
    check_refusal(
        POLICY,
        early,
        expect!["time of version 4: expected 1700000003000 or later, found 1"],
    );
    let create = Request::Create { salt: [0; 32], arguments: vec![] };
    check_refusal(
        POLICY,
        move |it| change(it, &|input| input.request = create.clone()),
        expect!["refusal of version 4: expected one that follows a genesis, found create"],
    );
}
