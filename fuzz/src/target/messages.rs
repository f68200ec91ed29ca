//! Purses that pay one another by messages, while the power is cut: no money is lost or made, and
//! each payment is delivered once, in the order of its sender, or is a dead letter, which is tried
//! again or dropped.
//!
//! It knows what purses do, not how messages are delivered: it compares what the lineages say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use continuant::{
    Clock, Code, Database, Durability, Entry, ObjectId, Options, Payloads, Replay, SigningKey,
    Value, args, storage,
};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::disk::volume::Volume;
use crate::disk::{Leaves, SimulatedDisk};
use crate::generate::lineage::START;
use crate::generate::{PURSE, PURSE_POLICY, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::runner::watch_threads;
use crate::tally::Tally;
use crate::workload::PATH;

/// Where a payment stands: the version that sent it, and its place there.
type Place = (u64, u32);

struct Run {
    rng: StdRng,
    key: SigningKey,
    purses: Vec<ObjectId>,
    /// The purses and, behind them, what is none, and one that is made later, or never.
    receivers: Vec<ObjectId>,
    late: ObjectId,
    /// Letters that were tried again, whose messages come behind later ones.
    again: BTreeSet<(ObjectId, Place)>,
    /// Letters that were dropped, which a crash may have undone, with their receivers.
    dropped: BTreeMap<(ObjectId, Place), ObjectId>,
}

/// What tells the purse that is made late from others.
const LATE: [u8; 16] = [9; 16];

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    watch_threads();
    let (mut rng, key) = (source(seed), SigningKey::from_secret(&[1; 32]));
    let disk = SimulatedDisk::new(Volume::new());
    let db = open(&disk, &mut rng)?;
    let (mut purses, count) = (Vec::new(), rng.random_range(2..6));
    for _ in 0..count {
        let salt = rng.random();
        purses.push(purse(&db, &key, &mut rng, salt)?);
    }
    must("closing", db.close())?;
    // Made at the same time of the same parts, it has the same id everywhere.
    let elsewhere = open(&SimulatedDisk::new(Volume::new()), &mut rng)?;
    let late = plain_purse(&elsewhere, &key, LATE)?;
    drop(elsewhere);
    let mut receivers = purses.clone();
    receivers.extend([ObjectId([7; 32]), late]);
    let (again, dropped) = Default::default();
    let mut run = Run { rng, key, purses, receivers, late, again, dropped };
    let mut volume = disk.volume();
    for _ in 0..run.rng.random_range(1..4) {
        volume = run.lives(volume)?;
        let disk = SimulatedDisk::new(volume.clone());
        run.settles(&disk, tally)?;
        tally.add("power cuts", 1);
        volume = disk.volume();
    }
    Ok(())
}

fn open(disk: &SimulatedDisk, rng: &mut StdRng) -> Result<Database, String> {
    let storage = storage::Options::new().disk(Arc::new(disk.clone())).segment_bytes(64 << 10);
    let options = Options::new().clock(Clock::manual(START)).storage(storage);
    let options = options.workers(rng.random_range(1..4)).cycles(rng.random_bool(0.5));
    let room = if rng.random_bool(0.3) { 0 } else { 1 << 20 };
    must("opening", options.resident_bytes_max(room).refusals_max(3).open(PATH))
}

/// A purse; one that takes no more than a hundred, sometimes.
fn purse(
    db: &Database,
    key: &SigningKey,
    rng: &mut StdRng,
    salt: [u8; 16],
) -> Result<ObjectId, String> {
    let owner = key.public().to_string();
    let mut policy = PURSE_POLICY.replace(&"0".repeat(64), &owner);
    if rng.random_bool(0.3) {
        // Purses of another policy: what they send the others, these do not take.
        policy += r#"@id("modest") forbid(principal, action == Action::"deposit", resource)
            when { context.input.amount > 100 };"#;
    }
    made(db, &owner, policy, salt)
}

/// A purse that takes all that other plain ones give.
fn plain_purse(db: &Database, key: &SigningKey, salt: [u8; 16]) -> Result<ObjectId, String> {
    let owner = key.public().to_string();
    made(db, &owner, PURSE_POLICY.replace(&"0".repeat(64), &owner), salt)
}

fn made(db: &Database, owner: &str, policy: String, salt: [u8; 16]) -> Result<ObjectId, String> {
    let code = must("a module", Code::wasm(PURSE))?.policy(policy);
    must("creating", db.create(code.args(args![owner]).salt(salt)))
}

impl Run {
    /// Payments until the power is cut at some moment: what is left then.
    fn lives(&mut self, start: Volume) -> Result<Volume, String> {
        let disk = SimulatedDisk::traced(start.clone());
        let db = open(&disk, &mut self.rng)?;
        let mut pending = Vec::new();
        for _ in 0..self.rng.random_range(5..40) {
            let from = self.purses[self.rng.random_range(0..self.purses.len())];
            let amount = self.rng.random_range(0..200u64);
            let call = match self.rng.random_bool(0.3) {
                true => db.call(from, "mint", args![amount]),
                false => {
                    let to = self.receivers[self.rng.random_range(0..self.receivers.len())];
                    db.call(from, "pay", args![Value::from(&to.0[..]), amount])
                }
            };
            let relaxed = self.rng.random_bool(0.5);
            let call = call.signed(&self.key).durability(match relaxed {
                true => Durability::Relaxed,
                false => Durability::Durable,
            });
            match self.rng.random_range(0..4) {
                0 => drop(call.wait()),
                _ => pending.extend(call.submit()),
            }
            if self.rng.random_bool(0.05) {
                must("settling", db.run_until(START))?;
            }
            if self.rng.random_bool(0.1) {
                self.lets_go(&db)?;
            }
        }
        drop(pending);
        drop(db);
        let trace = disk.take_trace();
        let kept = self.rng.random_range(0..=trace.len());
        let mut volume = start;
        trace[..kept].iter().for_each(|operation| volume.apply(operation));
        Ok(volume.cut(Leaves::Some, &mut self.rng))
    }

    /// Tries dead letters again, or drops them, and makes the purse that some of them are for.
    fn lets_go(&mut self, db: &Database) -> Outcome {
        if self.rng.random_bool(0.3) && db.info(self.late).is_err() {
            equal("the late purse", &self.late, &plain_purse(db, &self.key, LATE)?)?;
        }
        for letter in db.dead_letters() {
            let letter = must("a dead letter", letter)?;
            let place = (letter.sender, (letter.seq, letter.index));
            match self.rng.random_range(0..6) {
                0 => {
                    must("dropping", db.drop_dead_letter(letter.id))?;
                    self.dropped.insert(place, letter.id.to);
                }
                1 | 2 => {
                    must("trying again", db.retry_dead_letter(letter.id))?;
                    self.again.insert(place);
                }
                _ => continue,
            }
        }
        Ok(())
    }

    /// Opens what is left, delivers what is on its way, and holds the lineages against each other.
    fn settles(&mut self, disk: &SimulatedDisk, tally: &Tally) -> Outcome {
        let db = open(disk, &mut self.rng)?;
        must("settling", db.run_until(START))?;
        equal("messages on their way", &0, &db.message_count())?;
        let mut sent: BTreeMap<(ObjectId, ObjectId), Vec<Place>> = BTreeMap::new();
        let mut taken = sent.clone();
        let late = db.info(self.late).is_ok().then_some(&self.late);
        for &id in self.purses.iter().chain(late) {
            let (mut balance, history) = (0, must("the history", db.history(id).entries())?);
            for entry in history {
                let Entry::Version(entry) = must("an entry", entry)? else { continue };
                let payloads = entry.payloads.as_ref().ok_or("a version has its payloads")?;
                let Payloads { input, effects, .. } = payloads;
                for (message, index) in effects.messages.iter().zip(0..) {
                    let places = sent.entry((id, message.to)).or_default();
                    places.push((entry.header.seq, index));
                }
                if let Some(origin) = input.request.origin() {
                    let places = taken.entry((origin.sender, id)).or_default();
                    places.push((origin.seq, origin.index));
                }
                let Some((method, arguments)) = input.request.called() else { continue };
                let amount = arguments.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                match method {
                    "pay" => balance -= amount,
                    _ => balance += amount,
                }
            }
            let found = must("the balance", must("a snapshot", db.snapshot(id))?.get("balance"))?;
            equal("the balance", &balance, &found)?;
            must("a replay", db.verify(id, Replay::Yes))?;
        }
        for ((sender, _), places) in &taken {
            let in_order = places.iter().filter(|place| !self.again.contains(&(*sender, **place)));
            hold("messages of a sender arrive in their order", in_order.is_sorted())?;
            tally.add("delivered", places.len() as u64);
        }
        for letter in db.dead_letters() {
            let letter = must("a dead letter", letter)?;
            let places = taken.entry((letter.sender, letter.id.to)).or_default();
            places.push((letter.seq, letter.index));
            tally.add("dead letters", 1);
        }
        for ((sender, place), to) in &self.dropped {
            let places = taken.entry((*sender, *to)).or_default();
            let was_sent = sent.get(&(*sender, *to)).is_some_and(|sent| sent.contains(place));
            if was_sent && !places.contains(place) {
                places.push(*place);
                tally.add("dropped", 1);
            }
        }
        taken.values_mut().for_each(|places| places.sort_unstable());
        equal("what was delivered or is dead", &sent, &taken)?;
        let report = must("checking", db.check(|_, _| {}))?;
        hold(format!("an undamaged database is sound: {:?}", report.damage), report.is_sound())?;
        must("closing", db.close())
    }
}
