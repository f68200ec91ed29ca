//! Capsules: `verify_capsule` refuses a real one that was cut or changed. With a replay it also
//! refuses one whose sections were changed, moved or forged, and sealed anew.
//!
//! A holder who seals a capsule anew may leave out its last sections: a chain proves order, not
//! completeness. So nothing here only cuts those off.

use std::io::Cursor;
use std::sync::OnceLock;

use continuant::{
    Clock, Code, Database, Options, Replay, SigningKey, Verified, args, verify_capsule,
};
use object::capsule::SectionKind;
use object::commit::Commit;
use object::hash::MemoryRoot;
use object::memory::Tree;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::lineage::START;
use crate::generate::{COUNTER, COUNTER_POLICY, LAMP, LAMP_POLICY, bytes, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::sections::{Sections, memory_before, seal, seal_packed, split, split_raw};

/// Every how many runs steps are replayed: the code is compiled for it.
const REPLAY_IN: u32 = 8;

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = source(seed);
    let capsules = capsules();
    let capsule = &capsules[rng.random_range(0..capsules.len())];
    if rng.random_ratio(1, REPLAY_IN) {
        return sealed_anew(&mut rng, capsule);
    }
    let mut changed = capsule.clone();
    bytes::mutate(&mut rng, &mut changed);
    if changed == *capsule {
        return Ok(());
    }
    let verified = verify(changed, Replay::No);
    hold(format!("a changed capsule is refused: {verified:?}"), verified.is_err())
}

fn verify(capsule: Vec<u8>, replay: Replay) -> continuant::Result<Verified> {
    verify_capsule(Cursor::new(capsule), replay)
}

/// The capsules that are changed: made once, the same in every process.
fn capsules() -> &'static [Vec<u8>] {
    static CAPSULES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CAPSULES.get_or_init(|| make().expect("the capsules can be made"))
}

fn make() -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let options = Options::new().workers(1).clock(Clock::manual(Time::from_millis(START)));
    let db: Database = options.open(directory.path().join("db"))?;
    let key = SigningKey::from_secret(&[7; 32]);
    let code = |wasm: &[u8], policy: &str| {
        Ok::<_, continuant::Error>(Code::wasm(wasm)?.policy(policy).secret([3; 32]))
    };
    let counter = db.create(code(COUNTER, COUNTER_POLICY)?)?;
    db.call(counter, "increment", args![2u64]).signed(&key).nonce(1).wait()?;
    drop(db.call(counter, "increment", args![1_000_000u64]).wait());
    db.call(counter, "increment", args![3u64]).signed(&key).nonce(2).wait()?;
    let lamp = db.create(code(LAMP, LAMP_POLICY)?)?;
    db.call(lamp, "switch-on", args![60u32]).wait()?;
    db.run_until(Time::from_millis(START + 60_000))?;
    drop(db.call(lamp, "switch-on", args![6000u32]).wait());
    db.call(lamp, "switch-on", args![1u32]).wait()?;
    let mut capsules = Vec::new();
    for id in [counter, lamp] {
        let mut bytes = Vec::new();
        db.export(id, &mut bytes)?;
        verify(bytes.clone(), Replay::Yes)?;
        capsules.push(bytes);
    }
    Ok(capsules)
}

/// Changes the content of sections, and makes all checks match again.
fn sealed_anew(rng: &mut StdRng, capsule: &[u8]) -> Outcome {
    if rng.random_ratio(1, 4) {
        return packed_anew(rng, capsule);
    }
    let before = split(capsule)?;
    equal("a capsule sealed anew has the same sections", &before, &split(&seal(&before))?)?;
    let mut sections = before.clone();
    let last = sections.len() - 1;
    let at = rng.random_range(0..=last);
    let what = match rng.random_range(0..8) {
        0 => {
            forge_instrumentation(rng, &mut sections)?;
            "another version of the instrumentation"
        }
        1 => {
            forge_growth(&mut sections)?;
            "memory that grew by itself"
        }
        2 if at < last => {
            sections.remove(at);
            "a section left out"
        }
        3 => {
            let again = sections[at].clone();
            sections.insert(at, again);
            "a section twice"
        }
        4 => {
            let other = rng.random_range(0..=last);
            sections.swap(at, other);
            "sections in another order"
        }
        5 => {
            let body = &mut sections[last].1;
            let at = rng.random_range(0..480.min(body.len()));
            body[at] ^= 1 << rng.random_range(0..8);
            "a bit of the newest header"
        }
        _ => {
            bytes::mutate(rng, &mut sections[at].1);
            "a section's bytes"
        }
    };
    if sections == before {
        return Ok(());
    }
    let changed = match rng.random() {
        true => seal(&sections),
        false => seal_packed(rng, &sections)?,
    };
    let verified = verify(changed, Replay::Yes);
    let kind = sections.get(at).map(|section| section.0);
    hold(format!("{what} ({at}, {kind:?}) is refused: {verified:?}"), verified.is_err())
}

/// Changes packed sections, and makes the checks around them match again: the capsule then has
/// other sections, or the same.
fn packed_anew(rng: &mut StdRng, capsule: &[u8]) -> Outcome {
    let before = split(capsule)?;
    let packed = seal_packed(rng, &before)?;
    equal("sections that are packed otherwise", &before, &split(&packed)?)?;
    must("a capsule that is packed otherwise", verify(packed.clone(), Replay::No))?;
    let mut sections = split_raw(&packed)?;
    let at = rng.random_range(0..sections.len());
    match rng.random_range(0..3) {
        // Packed again: nothing may be unpacked twice.
        0 => {
            let length = (5 + sections[at].1.len()) as u32;
            let head = [&[6], &(length - 5).to_le_bytes()[..]].concat();
            let literal = literals(&[&head[..], &sections[at].1].concat());
            sections[at].1 = [&length.to_le_bytes()[..], &literal].concat();
        }
        // More than it can come to.
        1 => sections[at].1[..4].copy_from_slice(&rng.random::<u32>().to_le_bytes()),
        _ => bytes::mutate(rng, &mut sections[at].1),
    }
    let changed = seal(&sections);
    if split(&changed).is_ok_and(|sections| sections == before) {
        return Ok(());
    }
    let verified = verify(changed, Replay::Yes);
    hold(format!("what is packed otherwise ({at}) is refused: {verified:?}"), verified.is_err())
}

/// An LZ4 block of these bytes as they are.
fn literals(bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![bytes.len().min(15) as u8 * 16];
    if let Some(mut more) = bytes.len().checked_sub(15) {
        while more >= 255 {
            block.push(255);
            more -= 255;
        }
        block.push(more as u8);
    }
    block.extend_from_slice(bytes);
    block
}

/// The newest version says that it ran under another instrumentation.
fn forge_instrumentation(rng: &mut StdRng, sections: &mut Sections) -> Outcome {
    change_newest(sections, |commit| {
        commit.header.instrumentation ^= 1 << rng.random_range(0..32);
    })
}

/// The newest version has more memory than its step left, all zero, and the root of that.
fn forge_growth(sections: &mut Sections) -> Outcome {
    let image = memory_before(sections, sections.len())?;
    change_newest(sections, |commit| {
        commit.header.memory_bytes += 65_536;
        let grown = image.step(commit.header.memory_bytes, Vec::new());
        let root = grown.map_or(MemoryRoot([0; 32]), |grown| Tree::of(&grown).root());
        commit.header.memory_root = root;
    })
}

/// Changes the newest version, which ends a lineage.
fn change_newest(sections: &mut Sections, change: impl FnOnce(&mut Commit<'_>)) -> Outcome {
    let (kind, body) = sections.last_mut().ok_or("a capsule has sections")?;
    equal("the last section", &SectionKind::Commit, kind)?;
    let before = std::mem::take(body);
    let mut commit = must("the newest version", Commit::decode(&before))?;
    change(&mut commit);
    commit.encode_into(body);
    Ok(())
}
