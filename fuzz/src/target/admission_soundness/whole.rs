//! Sequences through a whole database: the engine runs the vault's code, on a disk, and others
//! import what was exported and forged.
//!
//! What may be asked is what the engine's API lets anybody ask for.

use std::io::Cursor;

use continuant::{
    Clock, Code, Database, Durability, ErrorKind, ObjectId, Options, Replay, SigningKey,
};
use object::capsule::SectionKind;
use object::commit::Commit;
use object::hash::VersionHash;
use object::policy::{self, Policy};
use object::refusal::Reason;
use rand::RngExt;
use rand::rngs::StdRng;

use super::CALLS;
use crate::generate::bytes;
use crate::generate::lineage::START;
use crate::outcome::{Outcome, equal, hold, must};
use crate::runner::watch_threads;
use crate::sections::{seal, split};
use crate::tally::Tally;
use crate::vault::law::{Law, keys};
use crate::vault::model::{Attempt, Model, Signed, WEEK};
use crate::vault::{Ask, STATE_PAGE, State, guard, wasm};

/// Sequences of one run, each with vaults of its own.
const SEQUENCES: u64 = 8;

/// A database, another that takes what leaves it, and the vaults of one sequence.
struct Whole<'r> {
    rng: &'r mut StdRng,
    db: &'r Database,
    other: &'r Database,
    now: u64,
    vaults: Vec<(ObjectId, Model)>,
}

pub(super) fn run(rng: &mut StdRng, tally: &Tally) -> Outcome {
    watch_threads();
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let open = |name: &str| {
        let options = Options::new().workers(1).cycles(false).clock(Clock::manual(START));
        must("opening", options.open(directory.path().join(name)))
    };
    let (db, other) = (open("here")?, open("there")?);
    for sequence in 0..SEQUENCES {
        let now = db.now();
        let mut whole = Whole { rng, db: &db, other: &other, now, vaults: Vec::new() };
        let outcome = whole.play();
        outcome.map_err(|problem| format!("whole sequence {sequence}: {problem}"))?;
    }
    tally.add("whole sequences", SEQUENCES);
    Ok(())
}

impl Whole<'_> {
    fn play(&mut self) -> Outcome {
        for _ in 0..self.rng.random_range(1..4) {
            let law = Law::ALL[self.rng.random_range(0..Law::ALL.len())];
            let code = must("the vault's code", Code::wasm(wasm()))?;
            let mut code = code.policy(law.cedar()).salt(self.rng.random());
            let guarded = self.rng.random_bool(0.3);
            if guarded {
                code = code.guard(guard::wasm());
            }
            let id = must("creating", self.db.create(code))?;
            let mut model = Model::new(law, self.now, VersionHash(id.0));
            model.guarded = guarded;
            self.vaults.push((id, model));
        }
        for call in 0..self.rng.random_range(CALLS) {
            self.now += [0, 0, 1, 400, 1000, 1000, 60_000][self.rng.random_range(0..7)];
            self.pass()?;
            let index = self.rng.random_range(0..self.vaults.len());
            self.ask(index).map_err(|problem| format!("call {call}: {problem}"))?;
        }
        for index in 0..self.vaults.len() {
            self.compare(self.db, index)?;
            let (id, model) = &self.vaults[index];
            let replay = if self.rng.random_bool(0.25) { Replay::Yes } else { Replay::No };
            let verified = must("verifying", self.db.verify(*id, replay))?;
            equal("versions", &(model.seq + 1), &verified.versions)?;
            let guarded = if model.guarded { model.seq } else { 0 };
            equal("versions that a guard permitted", &guarded, &verified.guarded)?;
        }
        let index = self.rng.random_range(0..self.vaults.len());
        self.emigrate(index)
    }

    /// Lets time pass: wakes that are due run, if they may.
    fn pass(&mut self) -> Outcome {
        must("waiting", self.db.run_until(self.now))?;
        for index in 0..self.vaults.len() {
            let (id, model) = &mut self.vaults[index];
            // A wake may be followed by no other: a cycle sets none.
            let Some(due) = model.wake.filter(|&wake| wake <= self.now) else { continue };
            let time = due.max(model.time);
            let attempt = Attempt { ask: &Ask::Cycle, time, signed: None };
            let made = Ask::Cycle.made(&model.state, time);
            if model.word(attempt, Some(&made)).is_ok() {
                let newest = must("a snapshot", self.db.snapshot(*id))?;
                model.take(attempt, &made, newest.hash());
            }
            self.compare(self.db, index)?;
        }
        Ok(())
    }

    fn ask(&mut self, index: usize) -> Outcome {
        let (id, model) = &mut self.vaults[index];
        let time = self.now.max(model.time);
        let ask = Ask::draw(self.rng, &model.state, time);
        let (expected, made, attempt, signed);
        let found = if ask == Ask::Cycle {
            attempt = Attempt { ask: &ask, time, signed: None };
            made = ask.made(&model.state, time);
            expected = model.word(attempt, Some(&made));
            self.db.advance(*id)
        } else {
            let (of, by) = sign(self.rng, model, time);
            signed = of;
            attempt = Attempt { ask: &ask, time, signed: signed.as_ref() };
            made = ask.made(&model.state, time);
            expected = model.word(attempt, Some(&made));
            let Some(call) = ask.call(self.db, *id) else {
                let gone = self.db.write(*id, vec![("gone", 1u8.into())]).wait();
                hold("what the schema does not have is turned away", gone.is_err())?;
                return self.compare(self.db, index);
            };
            let mut call = call.durability(Durability::Relaxed);
            if let Some(signed) = &signed {
                call = by.into_iter().fold(call, |call, key| call.signed(key));
                call = call.nonce(signed.nonce).expires(signed.expires);
                if let Some(parent) = signed.parent {
                    call = call.parent(parent);
                }
            }
            call.wait()
        };
        let about = || format!("{model:?}, {attempt:?}");
        match (&expected, found) {
            (Ok(rules), Ok(receipt)) => {
                equal("the rules", &format!("{rules:?}"), &format!("{:?}", receipt.rules))?;
                model.take(attempt, &made, receipt.version);
            }
            (Err((expected, _)), Err(error)) => {
                let reason = match error.kind() {
                    ErrorKind::Refused { verdict, .. } => verdict.reason,
                    ErrorKind::NotDue { .. } => Reason::NotDue,
                    _ => return Err(format!("{error}: {}", about())),
                };
                equal("the reason", expected, &reason)
                    .map_err(|problem| format!("{problem}: {}", about()))?;
            }
            (expected, found) => {
                let found = found.map(|receipt| receipt.rules).map_err(|error| error.to_string());
                return Err(format!("expected {expected:?}, found {found:?}: {}", about()));
            }
        }
        self.compare(self.db, index)
    }

    /// That a vault is in a database as the model has it.
    fn compare(&self, db: &Database, index: usize) -> Outcome {
        let (id, model) = &self.vaults[index];
        let newest = must("a snapshot", db.snapshot(*id))?;
        let header = newest.header();
        equal("the head", &model.head, &newest.hash())?;
        let found = (header.seq, header.time, header.wake);
        equal("seq, time and wake", &(model.seq, model.time, model.wake), &found)?;
        equal("the state", &model.state.value(), &must("the state", newest.state())?)?;
        let mut parts = crate::vault::definition(model.law).parts();
        if model.guarded {
            let text = model.law.cedar();
            parts.policy = Policy::hash_of(policy::Law::from(&text).guard(guard::wasm()));
        }
        let found = (header.code, header.schema, header.policy);
        equal("what it is made of", &(parts.code, parts.schema, parts.policy), &found)
    }

    /// A vault leaves for another database, after forgeries of it that are not let in.
    fn emigrate(&mut self, index: usize) -> Outcome {
        let id = self.vaults[index].0;
        let mut capsule = Vec::new();
        must("exporting", self.db.export(id, &mut capsule))?;
        for _ in 0..2 {
            let (what, kind, forged) = forge(self.rng, &capsule)?;
            if forged == capsule {
                continue;
            }
            let imported = self.other.import(Cursor::new(forged));
            if imported.is_ok() && kind == Changed::LastRefusal {
                // That somebody unknown asked for something else in vain is the host's word.
                return self.compare(self.other, index);
            }
            let let_in = || format!("{what}, {kind:?}, is not let in: {imported:?}");
            hold(let_in(), imported.is_err())?;
            hold("nothing of it is there", self.other.snapshot(id).is_err())?;
        }
        let imported = must("importing", self.other.import(Cursor::new(capsule)))?;
        equal("the id", &id, &imported)?;
        self.compare(self.other, index)
    }
}

/// Somebody who signs, or nobody.
fn sign(rng: &mut StdRng, model: &Model, time: u64) -> (Option<Signed>, Vec<&'static SigningKey>) {
    if rng.random_bool(0.4) {
        return (None, Vec::new());
    }
    let nonce = match rng.random_range(0..4) {
        0 => rng.random_range(0..4),
        _ => model.last_nonce() + rng.random_range(0..3),
    };
    let expires = match rng.random_range(0..12) {
        0 => time.saturating_sub(1),
        1 => time + WEEK + 1,
        _ => time + rng.random_range(0..100_000),
    };
    let parent = match rng.random_range(0..8) {
        0 => Some(model.head),
        1 => Some(VersionHash(rng.random())),
        _ => None,
    };
    let mut signers: Vec<&'static SigningKey> = Vec::new();
    for _ in 0..rng.random_range(1..3) {
        signers.push(&keys()[rng.random_range(0..8) % keys().len()]);
    }
    let mut public: Vec<[u8; 32]> = signers.iter().map(|key| key.public().0).collect();
    public.sort_unstable();
    public.dedup();
    (Some(Signed { genuine: true, keys: public, nonce, expires, parent }), signers)
}

/// What was changed of a capsule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Changed {
    /// A refusal that nothing follows.
    LastRefusal,
    /// A section of this kind that must be as it is.
    Section(SectionKind),
}

/// A capsule with its newest version forged, or any section's bytes changed, and sealed anew.
fn forge(rng: &mut StdRng, capsule: &[u8]) -> Result<(&'static str, Changed, Vec<u8>), String> {
    let mut sections = split(capsule)?;
    let newest = sections.iter().rposition(|section| section.0 == SectionKind::Commit);
    let newest = newest.ok_or("a capsule has a commit")?;
    let mut changed = Changed::Section(SectionKind::Commit);
    let what = match rng.random_range(0..3) {
        0 => {
            let (at, last) = (rng.random_range(0..sections.len()), sections.len() - 1);
            changed = match sections[at].0 {
                SectionKind::Refusal if at == last => Changed::LastRefusal,
                kind => Changed::Section(kind),
            };
            bytes::mutate(rng, &mut sections[at].1);
            "a capsule with a section that was changed"
        }
        1 => {
            let body = &mut sections[newest].1;
            let at = rng.random_range(0..480);
            body[at] ^= 1 << rng.random_range(0..8);
            "a capsule with another header"
        }
        _ => {
            let body = std::mem::take(&mut sections[newest].1);
            let mut commit = must("the newest version", Commit::decode(&body))?;
            let mut page = State::default().near(rng, START).page();
            page[rng.random_range(64..4096)] = 1;
            commit.pages = vec![(STATE_PAGE, &page)];
            commit.header.page_count = 1;
            let mut forged = Vec::new();
            commit.encode_into(&mut forged);
            sections[newest].1 = forged;
            "a capsule with another memory"
        }
    };
    Ok((what, changed, seal(&sections)))
}
