//! Every committed lineage verifies, and no longer once anything in it was changed: a record, the
//! policy, the module, the base image.
//!
//! The changed part is hashed anew, so that no check of damage finds it. Most lineages are made by
//! the pure functions and verified by them; some by an engine, and replayed. The beginning of a
//! lineage is a lineage, so nothing here only cuts the end off; and in the newest version the
//! fields that only its host can know may be changed, as [`Told`] lists.

mod ran;

use std::sync::Arc;

use object::commit::Commit;
use object::image::BaseImage;
use object::limits::PAGE_BYTES;
use object::refusal::Refusal;
use object::secret::Secret;
use policy::definition::Definition;
use policy::verify::Verifier;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::lineage::START;
use crate::generate::source;
use crate::outcome::{Outcome, hold, must};
use crate::tally::Tally;
use crate::vault::forged::{self, Told};
use crate::vault::host::{Claim, Host};
use crate::vault::law::Law;
use crate::vault::mind::{DrawnInput, Mind};
use crate::vault::model::{Attempt, Model};
use crate::vault::{base, salts, wasm};

/// Every how many runs a lineage is made by an engine, and replayed.
const RAN_IN: u32 = 8;
/// Changes of each lineage.
const CHANGES: u64 = 24;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let mut rng = source(seed);
    if rng.random_ratio(1, RAN_IN) {
        return ran::run(&mut rng, tally);
    }
    let lineage = Lineage::draw(&mut rng)?;
    for _ in 0..CHANGES {
        lineage.change(&mut rng)?;
    }
    lineage.parts(&mut rng)?;
    tally.add("lineages", 1);
    tally.add("changes", CHANGES);
    Ok(())
}

/// A lineage, and the state before each of its records.
struct Lineage {
    law: Law,
    secret: Secret,
    records: Vec<Record>,
}

struct Record {
    bytes: Vec<u8>,
    is_commit: bool,
    /// The object, before the record; a genesis has none.
    before: Option<(Host, Verifier)>,
}

impl Lineage {
    fn draw(rng: &mut StdRng) -> Result<Lineage, String> {
        let law = Law::ALL[rng.random_range(0..Law::ALL.len())];
        let drawn = rng.random();
        let (mut host, mut verifier, genesis) = Host::new(law, drawn, START);
        let (mut model, mut mind) = (Model::new(law, START, host.head.hash), Mind::default());
        salts::check_version(drawn, &genesis)?;
        let mut records = vec![Record { bytes: genesis, is_commit: true, before: None }];
        let mut now = START;
        for _ in 0..rng.random_range(3..16) {
            if model.deleted {
                break;
            }
            now += [0, 1, 1000, 60_000][rng.random_range(0..4)];
            let before = Some((host.clone(), verifier.clone()));
            let DrawnInput { input, ask, signed } = mind.draw(rng, &model, host.head.id, now);
            let made = ask.made(&model.state, now);
            let claim = match ask.runs_code() {
                false => host.written(&input.request),
                true => Some(Claim::of(&made, &host.image)),
            };
            let (bytes, is_commit) = match host.decide(&input, claim.as_ref()) {
                Ok(admission) => {
                    let claim = claim.expect("what is admitted was made");
                    let draft = host.take(&input, &claim, &admission);
                    let attempt = Attempt { ask: &ask, time: now, signed: signed.as_ref() };
                    model.take(attempt, &made, draft.header.hash());
                    (draft.bytes, true)
                }
                Err(verdict) => (host.refuse(&input, verdict).encode(), false),
            };
            match is_commit {
                true => salts::check_version(drawn, &bytes)?,
                false => salts::check_refusal(drawn, host.head.refusal_count - 1, &bytes)?,
            }
            must("verifying what was committed", follow(&mut verifier, is_commit, &bytes))?;
            records.push(Record { bytes, is_commit, before });
        }
        Ok(Lineage { law, secret: Secret::new(drawn), records })
    }

    /// Changes one record.
    fn change(&self, rng: &mut StdRng) -> Outcome {
        let at = rng.random_range(0..self.records.len());
        let record = &self.records[at];
        let image = object::image::Image::new(base());
        let definition = crate::vault::definition(self.law);
        let genesis = forged::Before {
            definition: &definition,
            image: &image,
            time: START,
            secret: &self.secret,
            refusal_count: 0,
        };
        let before = record.before.as_ref().map_or(genesis, |(host, _)| host.before());
        let (what, told, bytes) = match record.is_commit {
            true if rng.random_bool(0.6) => {
                let (what, bytes) = forged::change(rng, &before, &record.bytes);
                (what, Told::Anyone, bytes)
            }
            true => forged::retell(rng, &before, &record.bytes),
            false => forged::rerefuse(rng, &before, &record.bytes),
        };
        if bytes == record.bytes {
            return Ok(());
        }
        let what = || format!("{what}, record {at} of {}", self.records.len());
        let verified = match &record.before {
            Some((_, verifier)) => {
                let mut verifier = verifier.clone();
                follow(&mut verifier, record.is_commit, &bytes).map(|()| verifier)
            }
            None => Commit::decode(&bytes).and_then(|commit| {
                Verifier::genesis(definition.clone(), base(), &commit, self.secret.clone())
            }),
        };
        let Ok(mut verifier) = verified else { return Ok(()) };
        hold(format_args!("{} is refuted", what()), told != Told::Anyone)?;
        let Some(next) = self.records.get(at + 1) else { return Ok(()) };
        let followed = follow(&mut verifier, next.is_commit, &next.bytes);
        hold(format_args!("nothing follows {}", what()), followed.is_err())
    }

    /// Changes the object's parts.
    fn parts(&self, rng: &mut StdRng) -> Outcome {
        let genesis = must("decoding a genesis", Commit::decode(&self.records[0].bytes))?;
        let other = Law::ALL[rng.random_range(0..Law::ALL.len())];
        let law = if rng.random_bool(0.5) { self.law } else { other };
        let mut memory = vec![0; 2 * PAGE_BYTES];
        memory[..3].copy_from_slice(b"put");
        let (mut globals, mut module) = (Vec::new(), wasm().to_vec());
        let what = match rng.random_range(0..3) {
            0 => {
                memory[rng.random_range(0..PAGE_BYTES)] ^= 1 << rng.random_range(0..8);
                "a base image of other bytes"
            }
            1 => {
                globals.push(rng.random());
                "a base image of other globals"
            }
            _ => {
                // A custom section, which means nothing.
                module.extend_from_slice(&[0, 2, 1, rng.random_range(b'a'..=b'z')]);
                "a module of other bytes"
            }
        };
        let base = must("a base image", BaseImage::new(&memory, globals))?;
        let definition = match module == wasm() {
            true => crate::vault::definition(law),
            false => Arc::new(must("a definition", Definition::new(&module, &law.cedar()))?),
        };
        let base = Arc::new(base);
        let verified = Verifier::genesis(definition, base, &genesis, self.secret.clone());
        hold(format_args!("a genesis of {what} is refuted"), verified.is_err())?;
        if law != self.law {
            let definition = crate::vault::definition(law);
            let base = crate::vault::base();
            let verified = Verifier::genesis(definition, base, &genesis, self.secret.clone());
            hold("a genesis of another policy is refuted", verified.is_err())?;
        }
        Ok(())
    }
}

/// Has a verifier take the next record.
fn follow(verifier: &mut Verifier, is_commit: bool, bytes: &[u8]) -> object::Result<()> {
    match is_commit {
        true => verifier.commit(&Commit::decode(bytes)?),
        false => verifier.refusal(&Refusal::decode(bytes)?),
    }
}
