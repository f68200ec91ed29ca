//! Lineages that an engine made: their capsules verify, and a replay refutes them when a section
//! was changed and everything that names it hashed and sealed anew.
//!
//! This module does not know which inputs are admitted.

use std::io::Cursor;
use std::time::Duration;

use continuant::{Clock, Code, Durability, Options, Replay, verify_capsule};
use object::capsule::SectionKind;
use object::limits::PAGE_BYTES;
use object::secret::Secret;
use object::time::Time;
use policy::Policy;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::lineage::START;
use crate::outcome::{Outcome, equal, hold, must};
use crate::sections::{Sections, memory_before, seal, split};
use crate::tally::Tally;
use crate::threads::watch_threads;
use crate::vault::forged::{self, Before, Told};
use crate::vault::law::{Law, keys};
use crate::vault::{Ask, State, definition, wasm};

/// Changes of one capsule.
const CHANGES: u64 = 6;

pub(super) fn run(rng: &mut StdRng, tally: &Tally) -> Outcome {
    watch_threads();
    let law = Law::ALL[rng.random_range(0..Law::ALL.len())];
    let capsule = make(rng, law)?;
    let sections = split(&capsule)?;
    for _ in 0..CHANGES {
        change(rng, law, sections.clone(), &capsule)?;
    }
    tally.add("lineages replayed", 1);
    tally.add("changes replayed", CHANGES);
    Ok(())
}

/// The capsule of a vault that an engine ran, which verifies and replays.
fn make(rng: &mut StdRng, law: Law) -> Result<Vec<u8>, String> {
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let options =
        Options::new().workers(1).cycles(false).clock(Clock::manual(Time::from_millis(START)));
    let db = must("opening", options.open(directory.path().join("db")))?;
    let code = must("the vault's code", Code::wasm(wasm()))?;
    let id = must("creating", db.create(code.policy(law.cedar()).secret(rng.random())))?;
    let near = State { stamp: START, ..State::default() };
    for nonce in 1..rng.random_range(4..14) {
        let time = db
            .now()
            .saturating_add(Duration::from_millis([0, 1, 1000, 60_000][rng.random_range(0..4)]));
        must("waiting", db.run_until(time))?;
        let ask = Ask::draw(rng, &near, time.as_millis());
        let Some(call) = ask.call(&db, id) else { continue };
        let mut call = call.durability(Durability::Relaxed);
        if rng.random_bool(0.6) {
            let signers = (0..rng.random_range(1..4)).map(|_| &keys()[rng.random_range(0..4)]);
            let signers: Vec<_> = signers.collect();
            call = call.nonce(nonce);
            if rng.random_bool(0.2) {
                let batch = db.batch([call]);
                drop(signers.into_iter().fold(batch, |batch, key| batch.signed(key)).wait());
                continue;
            }
            call = signers.into_iter().fold(call, |call, key| call.signed(key));
        }
        drop(call.wait());
    }
    let verified = must("verifying", db.verify(id, Replay::No))?;
    equal("what a replay verifies", &verified, &must("a replay", db.verify(id, Replay::Yes))?)?;
    let mut capsule = Vec::new();
    must("exporting", db.export(id, &mut capsule))?;
    for replay in [Replay::No, Replay::Yes] {
        let found = verify_capsule(Cursor::new(&capsule[..]), replay);
        equal("what a capsule has", &verified, &must("verifying a capsule", found)?)?;
    }
    Ok(capsule)
}

/// Changes the version or the refusal of a section.
fn record(
    rng: &mut StdRng,
    law: Law,
    sections: &mut Sections,
    at: usize,
) -> Result<(&'static str, Told), String> {
    let count = |kind| sections[..at].iter().filter(|section| section.0 == kind).count() as u64;
    let refusal_count = count(SectionKind::Refusal);
    let secret = must("the secret", Secret::decode(&sections[0].1))?;
    let secret = must("the rest of it", secret.since(count(SectionKind::Commit)))?;
    let (definition, image) = (definition(law), memory_before(sections, at)?);
    let (definition, image, secret) = (&*definition, &image, &secret);
    let before = Before { definition, image, time: START, secret, refusal_count };
    let body = &sections[at].1;
    let (what, told, bytes) = match sections[at].0 {
        SectionKind::Refusal => forged::rerefuse(rng, &before, body),
        _ if rng.random_bool(0.4) => {
            let (what, bytes) = forged::change(rng, &before, body);
            (what, Told::Anyone, bytes)
        }
        _ => forged::retell(rng, &before, body),
    };
    sections[at].1 = bytes;
    Ok((what, told))
}

/// Changes one section.
fn change(rng: &mut StdRng, law: Law, mut sections: Sections, capsule: &[u8]) -> Outcome {
    // A replay is needed for the commits whose code ran.
    let of_all = rng.random_range(0..sections.len());
    let commits = (0..sections.len()).filter(|&at| sections[at].0 == SectionKind::Commit);
    let commits: Vec<usize> = commits.collect();
    let of_commits = commits[rng.random_range(0..commits.len())];
    let at = if rng.random_bool(0.4) { of_all } else { of_commits };
    let (what, told) = match sections[at].0 {
        SectionKind::Commit | SectionKind::Refusal => record(rng, law, &mut sections, at)?,
        SectionKind::Policy => {
            let text = law.cedar() + "\n";
            let schema = &definition(law).schema;
            let policy = must("the same rules", Policy::parse(&text, schema))?;
            sections[at].1 = policy.encode();
            ("a policy of the same rules and other bytes", Told::Anyone)
        }
        SectionKind::Base => {
            let page = rng.random_range(0..sections[at].1.len().min(PAGE_BYTES));
            sections[at].1[page] ^= 1 << rng.random_range(0..8);
            ("a base image of other bytes", Told::Anyone)
        }
        SectionKind::Code => {
            sections[at].1.extend_from_slice(&[0, 2, 1, b'a']);
            ("a module of other bytes", Told::Anyone)
        }
        SectionKind::Secret => {
            let byte = rng.random_range(0..sections[at].1.len());
            sections[at].1[byte] ^= 1 << rng.random_range(0..8);
            ("another secret", Told::Anyone)
        }
        other => return Err(format!("a section of kind {other:?}")),
    };
    // A change that the record does not show must break the next record, so it passes at the end;
    // every other change is refuted at the end as well.
    let is_last = at + 1 == sections.len();
    if told == Told::Successor && is_last {
        return Ok(());
    }
    if told != Told::Successor {
        sections.truncate(at.max(4) + 1);
    }
    let changed = seal(&sections);
    if changed == seal(&split(capsule)?[..sections.len()]) {
        return Ok(());
    }
    let verified = verify_capsule(Cursor::new(changed), Replay::Yes);
    hold(format_args!("{what}, section {at}, is refuted: {verified:?}"), verified.is_err())
}
