//! Sequences through a whole database: the engine runs the vault's code, on a disk, and other
//! databases import exported and forged capsules.
//!
//! The requests are those that the engine's API lets anybody make.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::OnceLock;

use continuant::{
    Call, Clock, Code, Database, Durability, ErrorKind, ObjectId, Options, Receipt, Replay,
    Session, SigningKey,
};
use object::capsule::SectionKind;
use object::commit::Commit;
use object::credential::SessionKey;
use object::hash::VersionHash;
use object::refusal::Reason;
use object::time::Time;
use policy::{self, Policy};
use rand::RngExt;
use rand::rngs::StdRng;

use super::CALLS;
use crate::generate::bytes;
use crate::generate::lineage::START;
use crate::outcome::{Outcome, equal, hold, must};
use crate::sections::{seal, split};
use crate::tally::Tally;
use crate::threads::watch_threads;
use crate::vault::law::{Law, keys, sessions};
use crate::vault::model::{Attempt, Model, Signed, WEEK};
use crate::vault::{Ask, STATE_PAGE, State, guard, wasm};

/// Sequences of one run, each with vaults of its own.
const SEQUENCES: u64 = 8;

/// A database, another that takes what leaves it, and the vaults of one sequence.
struct Whole<'r> {
    rng: &'r mut StdRng,
    tally: &'r Tally,
    db: &'r Database,
    other: &'r Database,
    now: u64,
    vaults: Vec<(ObjectId, Model)>,
    /// The time at which a vault's wake is tried again, that was refused on the version with this
    /// seq, and the pause before that.
    retries: BTreeMap<ObjectId, (u64, u64, u64)>,
}

pub(super) fn run(rng: &mut StdRng, tally: &Tally) -> Outcome {
    watch_threads();
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let open = |name: &str| {
        let options =
            Options::new().workers(1).cycles(false).clock(Clock::manual(Time::from_millis(START)));
        must("opening", options.open(directory.path().join(name)))
    };
    let (db, other) = (open("here")?, open("there")?);
    for session in held() {
        must("holding a session", db.hold_session(session))?;
    }
    for sequence in 0..SEQUENCES {
        let now = db.now();
        let (vaults, retries) = Default::default();
        let mut whole =
            Whole { rng, tally, db: &db, other: &other, now: now.as_millis(), vaults, retries };
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
            let mut code = code.policy(law.cedar()).secret(self.rng.random());
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
            let guarded = model.permitted_by_guard;
            equal("versions that a guard permitted", &guarded, &verified.guarded)?;
        }
        let index = self.rng.random_range(0..self.vaults.len());
        self.emigrate(index)
    }

    /// Lets time pass: wakes that are due run, if they may.
    fn pass(&mut self) -> Outcome {
        must("waiting", self.db.run_until(Time::from_millis(self.now)))?;
        for index in 0..self.vaults.len() {
            let (id, model) = &mut self.vaults[index];
            // A wake may be followed by no other: a cycle sets none.
            while let Some(wake) = model.wake {
                let known = self.retries.get(id).filter(|known| known.0 == model.seq);
                let (_, due, pause) = known.copied().unwrap_or((model.seq, wake, 500));
                if due > self.now {
                    break;
                }
                let time = due.max(model.time);
                let attempt = Attempt { ask: &Ask::Cycle, time, signed: None };
                let made = Ask::Cycle.made(&model.state, time);
                if model.word(attempt, Some(&made)).is_ok() {
                    let newest = must("a snapshot", self.db.snapshot(*id))?;
                    model.take(attempt, &made, newest.hash());
                    self.tally.add("wakes that were refused before", u64::from(known.is_some()));
                } else {
                    let pause = 2 * pause;
                    self.retries.insert(*id, (model.seq, time + pause, pause));
                }
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
            let (of, by) = match self.rng.random_bool(0.3) {
                true => in_session(self.rng, model, time),
                false => sign(self.rng, model, time),
            };
            signed = of;
            attempt = Attempt { ask: &ask, time, signed: signed.as_ref() };
            made = ask.made(&model.state, time);
            expected = model.word(attempt, Some(&made));
            if let Ask::Amend(Some(law)) = ask {
                let asked = self.db.amend(*id, &law.cedar()).dry_run();
                let last = matches!(&asked, Err(it) if matches!(it.kind(), ErrorKind::LastPolicy));
                hold("a last law is taken by who says so", last != law.is_amendable())?;
            }
            let Some(call) = ask.call(self.db, *id) else {
                let call = match ask {
                    Ask::Amend(_) => self.db.amend_for_good(*id, "not a law"),
                    _ => self.db.write(*id, vec![("gone", 1u8.into())]),
                };
                let gone = call.wait();
                hold("what the schema does not have is turned away", gone.is_err())?;
                return self.compare(self.db, index);
            };
            let is_alone = self.rng.random_bool(0.8);
            submit(self.db, call.durability(Durability::Relaxed), signed.as_ref(), by, is_alone)?
        };
        if model.deleted {
            let about = format!("nothing follows a deletion: {attempt:?}, {found:?}");
            hold(about, found.as_ref().is_err_and(|error| is_deleted(error, model.time)))?;
            return self.compare(self.db, index);
        }
        let about = || format!("{model:?}, {attempt:?}");
        match (&expected, found) {
            (Ok(rules), Ok(receipt)) => {
                equal("the rules", &format!("{rules:?}"), &format!("{:?}", receipt.rules))?;
                model.take(attempt, &made, receipt.version);
                self.tally.add("vaults deleted in a database", u64::from(model.deleted));
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

    /// Requires that a database has a vault as the model has it.
    fn compare(&self, db: &Database, index: usize) -> Outcome {
        let (id, model) = &self.vaults[index];
        let newest = must("a snapshot", db.snapshot(*id))?;
        let header = newest.header();
        equal("the head", &model.head, &newest.hash())?;
        let wake = header.wake.map(Time::as_millis);
        let found = (header.seq, header.time.as_millis(), wake);
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
            // The forgery differs in its compression alone.
            if split(&forged)? == split(&capsule)? {
                continue;
            }
            let imported = self.other.import(Cursor::new(forged));
            if imported.is_ok() && kind == Changed::LastRefusal {
                // The host alone attests a refusal of an unknown signer, so it may say anything.
                return self.compare(self.other, index);
            }
            let let_in = || format!("{what}, {kind:?}, is not let in: {imported:?}");
            hold(let_in(), imported.is_err())?;
            hold("nothing of it is there", self.other.snapshot(id).is_err())?;
        }
        let imported = must("importing", self.other.import(Cursor::new(capsule)))?;
        equal("the id", &id, &imported)?;
        let model = &self.vaults[index].1;
        if model.deleted {
            let again = self.other.delete(id).wait();
            let is_so = again.is_err_and(|error| is_deleted(&error, model.time));
            hold("it is deleted there too", is_so)?;
        }
        self.compare(self.other, index)
    }
}

/// Returns whether an error says that a vault was deleted at a time.
fn is_deleted(error: &continuant::Error, time: u64) -> bool {
    matches!(error.kind(), ErrorKind::Deleted { at } if at.as_millis() == time)
}

/// The proof that a call is given.
enum By {
    Keys(Vec<&'static SigningKey>),
    Session(&'static Session),
}

/// The sessions, as the database holds them.
fn held() -> &'static [Session] {
    static HELD: OnceLock<Vec<Session>> = OnceLock::new();
    let session = |key: &SessionKey| Session::from_secret(&key.secret(), Time::MAX);
    HELD.get_or_init(|| sessions().iter().map(session).collect())
}

/// Somebody who is in a session, open or not.
fn in_session(rng: &mut StdRng, model: &Model, time: u64) -> (Option<Signed>, By) {
    let session = &held()[rng.random_range(0..held().len())];
    let id = session.id().0;
    let (ends, last) = model.session(&id, time).unwrap_or((time + 1000, 0));
    let (nonce, expires) = (last + rng.random_range(0..3), ends + rng.random_range(0..2));
    let parent = rng.random_bool(0.1).then_some(model.head);
    let signed = Signed { genuine: true, keys: vec![], session: Some(id), nonce, expires, parent };
    (Some(signed), By::Session(session))
}

/// Has a call signed, alone or as a batch, or put into a session, and submits it.
fn submit<'d>(
    db: &'d Database,
    mut call: Call<'d>,
    signed: Option<&Signed>,
    by: By,
    is_alone: bool,
) -> Result<continuant::Result<Receipt>, String> {
    let Some(signed) = signed else { return Ok(call.wait()) };
    call = call.nonce(signed.nonce).expires(Time::from_millis(signed.expires));
    if let Some(parent) = signed.parent {
        call = call.parent(parent);
    }
    let keys = match by {
        By::Session(session) => return Ok(call.in_session(session).wait()),
        By::Keys(keys) => keys,
    };
    if is_alone {
        return Ok(keys.into_iter().fold(call, |call, key| call.signed(key)).wait());
    }
    let batch = keys.into_iter().fold(db.batch([call]), |batch, key| batch.signed(key));
    let mut replies = must("a batch", batch.wait())?;
    replies.pop().ok_or_else(|| "a batch has an answer for each call".to_string())
}

/// Somebody who signs, or nobody.
fn sign(rng: &mut StdRng, model: &Model, time: u64) -> (Option<Signed>, By) {
    if rng.random_bool(0.4) {
        return (None, By::Keys(Vec::new()));
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
    let signed = Signed { genuine: true, keys: public, session: None, nonce, expires, parent };
    (Some(signed), By::Keys(signers))
}

/// The part of a capsule that was changed.
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
