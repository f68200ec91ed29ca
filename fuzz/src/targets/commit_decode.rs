//! Commits, and the payloads that they carry or name, decode from exactly the bytes that their
//! encoders write, and never panic.
//!
//! This target does not know what the fields mean.

use std::sync::Arc;

use object::commit::Commit;
use object::credential::{Credential, PublicKey};
use object::effects::{Admission, Effects, decode_globals, encode_globals};
use object::hash::SessionId;
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::{
    Argument, Class, Keep, Ledger, Nonces, ReadArguments, Tracked, TrackedArgument, Used,
};
use object::limits::{NONCES_MAX, PAGE_BYTES, SIGNATURES_MAX};
use object::memory::Page;
use object::refusal::Refusal;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::{bytes, header, source};
use crate::outcome::{Outcome, equal, hold, must};

/// Decodes bytes and encodes the result again.
type Again = fn(&[u8]) -> object::Result<Vec<u8>>;

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = source(seed);
    match rng.random_range(0..10) {
        0 => return says(&mut rng),
        1 => return changes(&mut rng),
        _ => {}
    }
    let (what, encoded, again): (_, Vec<u8>, Again) = match rng.random_range(0..10) {
        0 => {
            ("input", header::input(&mut rng).encode(), |bytes| Ok(Input::decode(bytes)?.encode()))
        }
        1 => ("effects", header::effects(&mut rng).encode(), |bytes| {
            Ok(Effects::decode(bytes)?.encode())
        }),
        2 => ("admission", header::admission(&mut rng).encode(), |bytes| {
            Ok(Admission::decode(bytes)?.encode())
        }),
        3 => ("refusal", header::refusal(&mut rng).encode(), |bytes| {
            Ok(Refusal::decode(bytes)?.encode())
        }),
        4 => ("ledger", life(&mut rng).0.encode(), |bytes| Ok(Ledger::decode(bytes)?.encode())),
        5 => ("globals", encode_globals(&globals(&mut rng)), |bytes| {
            Ok(encode_globals(&decode_globals(bytes)?))
        }),
        6 => ("base image", base(&mut rng), |bytes| Ok(BaseImage::decode(bytes)?.encode())),
        _ => ("commit", commit(&mut rng), |bytes| {
            let mut again = Vec::new();
            Commit::decode(bytes)?.encode_into(&mut again);
            Ok(again)
        }),
    };
    let decoded = must(format!("decoding {what} as encoded"), again(&encoded))?;
    equal(what, &encoded, &decoded)?;
    let mut mutated = encoded;
    bytes::mutate(&mut rng, &mut mutated);
    if let Ok(decoded) = again(&mutated) {
        equal(&format!("mutated {what}"), &mutated, &decoded)?;
    }
    let random = random(&mut rng);
    match again(&random) {
        Ok(decoded) => equal(&format!("random bytes as {what}"), &random, &decoded),
        Err(_) => Ok(()),
    }
}

/// An input is valid exactly when its bytes decode to it, even with the least and greatest values.
fn says(rng: &mut StdRng) -> Outcome {
    let mut input = header::input(rng);
    if rng.random_bool(0.8) {
        header::put_extremes(rng, &mut input);
    }
    // A header without the hashes that its numbers say has no encoding.
    let has_bytes = match &input.request {
        Request::Fork { of, .. } => {
            let chained = [of.object.is_some(), of.parent.is_some(), of.jump.is_some()];
            chained == [of.seq > 0; 3] && of.refusals.is_some() == (of.refusal_count > 0)
        }
        _ => true,
    };
    let is_kept = has_bytes && Input::decode(&input.encode()).as_ref() == Ok(&input);
    let problem = input.validate().err().map(|error| error.to_string());
    equal("whether an input is what its bytes say", &is_kept, &problem.is_none())
        .map_err(|it| format!("{it}: {problem:?} of {input:?}"))
}

/// A ledger follows from an earlier one and the changes since, and has its hash; other changes lead
/// to other ledgers, or are none.
fn changes(rng: &mut StdRng) -> Outcome {
    let (ledger, base) = life(rng);
    let encoded = ledger.changes(&base);
    let changed = must("reading changes of a ledger", base.changed_by(&encoded))?;
    equal("the ledger that was changed", &*ledger, &changed)?;
    equal("its hash", &ledger.hash(), &changed.hash())?;
    let is_same = ledger.hash() == base.hash();
    equal("whether two ledgers have one hash", &(*ledger == *base), &is_same)?;
    let mut gone = vec![1, 0, 0, rng.random_range(1..100)];
    gone.extend(&base.changes(&base)[1..]);
    hold("a nonce that goes does not advance", base.changed_by(&gone).is_err())?;
    let mut mutated = encoded.clone();
    bytes::mutate(rng, &mut mutated);
    if let Ok(other) = base.changed_by(&mutated) {
        equal("mutated changes of a ledger", &mutated, &other.changes(&base))?;
        let is_same = other.hash() == ledger.hash();
        equal("whether changes lead to one ledger", &(mutated == encoded), &is_same)?;
    }
    Ok(())
}

fn random(rng: &mut StdRng) -> Vec<u8> {
    let count = rng.random_range(0..600);
    let mut random = bytes::random(rng, count);
    if let Some(first) = random.first_mut() {
        // Every payload starts with its version.
        *first = 2;
    }
    random
}

fn globals(rng: &mut StdRng) -> Vec<u64> {
    (0..rng.random_range(0..5)).map(|_| bytes::number(rng)).collect()
}

/// A ledger, and an earlier one of the same lineage.
fn life(rng: &mut StdRng) -> (Arc<Ledger>, Arc<Ledger>) {
    let actions = ["go", "write", "a-b"].iter().filter(|_| rng.random()).map(ToString::to_string);
    let named = (0..2).map(|key| PublicKey([key; 32]));
    let tracked = Tracked::new(actions.collect::<Vec<String>>(), rng.random()).naming(named);
    let asked = ["number", "text"].map(|name| asked(rng, name));
    let tracked = tracked.reading(asked, Arc::new(Calls));
    let mut ledger = Arc::new(Ledger::default());
    let mut earlier = Arc::clone(&ledger);
    let keys = [4, 40][rng.random_range(0..2)];
    for seq in 1..rng.random_range(1..80) {
        let request = match rng.random_range(0..3) {
            0 => {
                let arguments = (0..rng.random_range(0..4)).map(|_| rng.random_range(0..4));
                Request::Call { method: "go".to_string(), arguments: arguments.collect() }
            }
            1 => Request::Write { fields: Vec::new() },
            _ => Request::Cycle,
        };
        let signers: Vec<PublicKey> = match rng.random_bool(0.3) {
            true => vec![PublicKey([rng.random_range(0..keys); 32])],
            false => Vec::new(),
        };
        let credential = signers
            .first()
            .map(|_| Credential::new(seq, Time::from_millis(seq + rng.random_range(0..9))));
        let request = match credential.is_some() && rng.random_bool(0.2) {
            true => {
                let expires = Time::from_millis(seq + rng.random_range(0..30));
                Request::OpenSession { session: SessionId([rng.random(); 32]), expires }
            }
            false => request,
        };
        if let Request::OpenSession { session, .. } = request
            && ledger.sessions.get(session).is_some()
        {
            continue;
        }
        let input = Input { request, time: Time::from_millis(seq), credential };
        ledger = ledger.next(&tracked, seq, &input, &signers);
        if rng.random_bool(0.1) {
            earlier = Arc::clone(&ledger);
        }
    }
    if rng.random_bool(0.05) {
        let ledger = Arc::make_mut(&mut ledger);
        crowd(rng, &tracked, &mut ledger.nonces);
    }
    (ledger, earlier)
}

/// Calls whose arguments are a number, the first byte less 1, and the text behind it.
#[derive(Debug)]
struct Calls;

impl ReadArguments for Calls {
    fn read<'a>(&'a self, _: &str, name: &str, arguments: &'a [u8]) -> Option<Argument<'a>> {
        let (number, text) = arguments.split_first()?;
        match name {
            "number" => Some(Argument::Integer(i128::from(*number) - 1)),
            _ => std::str::from_utf8(text).ok().map(Argument::Text),
        }
    }
}

/// Draws a policy's interest in an argument.
fn asked(rng: &mut StdRng, name: &str) -> TrackedArgument {
    let is_number = name == "number";
    let keeps = [Keep::Nothing, Keep::Day, Keep::Ever];
    TrackedArgument {
        action: "go".to_string(),
        argument: name.to_string(),
        class: if is_number { Class::Integer } else { Class::Text },
        total: is_number && rng.random(),
        amounts: is_number && rng.random(),
        last: rng.random(),
        values: keeps[rng.random_range(0..3)],
        signed: keeps[rng.random_range(0..3)],
    }
}

/// Has more keys sign than a ledger remembers.
fn crowd(rng: &mut StdRng, tracked: &Tracked, nonces: &mut Nonces) {
    for _ in 0..NONCES_MAX / SIGNATURES_MAX + 1 {
        let mut keys: Vec<PublicKey> =
            (0..SIGNATURES_MAX).map(|_| PublicKey(rng.random())).collect();
        keys.sort();
        let used =
            Used { nonce: rng.random(), expires: Time::from_millis(100 + rng.random_range(0..9)) };
        nonces.record(&keys, used, Time::from_millis(90), tracked);
    }
}

fn base(rng: &mut StdRng) -> Vec<u8> {
    let mut memory = vec![0; rng.random_range(0..4) * PAGE_BYTES];
    for _ in 0..rng.random_range(0..3) {
        if !memory.is_empty() {
            let at = rng.random_range(0..memory.len());
            memory[at] = rng.random();
        }
    }
    let image = BaseImage::new(&memory, globals(rng));
    image.expect("the image is within the limits").encode()
}

fn commit(rng: &mut StdRng) -> Vec<u8> {
    let mut header = header::header(rng);
    header.memory_bytes = rng.random_range(0..9) * PAGE_BYTES as u64;
    let count = (header.memory_bytes / PAGE_BYTES as u64) as u32;
    let indices: Vec<u32> = (0..count).filter(|_| rng.random_bool(0.3)).collect();
    header.page_count = indices.len() as u32;
    let page: Page = [rng.random(); PAGE_BYTES];
    let (input, effects) = (header::input(rng).encode(), header::effects(rng).encode());
    let (admission, globals) = (header::admission(rng).encode(), encode_globals(&globals(rng)));
    let commit = Commit {
        header,
        input: &input,
        effects: &effects,
        admission: &admission,
        globals: rng.random_bool(0.5).then_some(&globals[..]),
        pages: indices.into_iter().map(|index| (index, &page)).collect(),
    };
    let mut bytes = Vec::new();
    commit.encode_into(&mut bytes);
    bytes
}
