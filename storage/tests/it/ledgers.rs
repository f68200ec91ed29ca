//! Ledgers that remember much: what a version costs, and that every version's ledger is read as it
//! was, from a log that lost its index, from packs, backups and imports, and behind retention.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use continuant_storage::{CapsuleReader, ErrorKind, Options, Restoring, Retention, Store, Until};
use object::credential::{Credential, Proof, PublicKey, Signature};
use object::hash::SessionId;
use object::input::Request;
use object::ledger::Ledger;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, START, append, assert_sound, in_one_frame, small};

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// An object that many keys sign, with its ledger after each version.
struct Signed {
    author: Author,
    rng: StdRng,
    keys: Vec<PublicKey>,
    sessions: Vec<(SessionId, Vec<PublicKey>, u64)>,
    ledgers: Vec<Arc<Ledger>>,
}

impl Signed {
    fn new(store: &Store, seed: u64, key_count: usize) -> Signed {
        let mut rng = StdRng::seed_from_u64(seed);
        let (author, genesis) = Author::new(seed);
        append(store, &[genesis], &[]).unwrap();
        let mut keys: Vec<PublicKey> = (0..key_count).map(|_| PublicKey(rng.random())).collect();
        keys.sort();
        let ledgers = vec![Arc::clone(&author.head.ledger)];
        Signed { author, rng, keys, sessions: Vec::new(), ledgers }
    }

    fn time(&self) -> u64 {
        self.author.head.header.time.as_millis()
    }

    fn credential(&self, time: u64) -> Credential {
        let expires = Time::from_millis(time).saturating_add(Duration::from_millis(DAY));
        Credential::new(self.author.head.header.seq + 1, expires)
    }

    /// A version that keys sign.
    fn sign(&mut self, keys: &[PublicKey], request: Request, time: u64) -> Made {
        let mut credential = self.credential(time);
        let signatures = keys.iter().map(|key| Signature { key: key.0, bytes: [7; 64] });
        credential.proof = Proof::Signatures(signatures.collect());
        self.made(request, time, credential, keys)
    }

    fn made(
        &mut self,
        request: Request,
        time: u64,
        credential: Credential,
        keys: &[PublicKey],
    ) -> Made {
        let made = self.author.ask(request, time, credential, keys);
        self.ledgers.push(Arc::clone(&self.author.head.ledger));
        made
    }

    /// A version of any kind.
    fn step(&mut self) -> Made {
        let time = self.time() + [0, 1, 1000, DAY / 50][self.rng.random_range(0..4)];
        self.sessions.retain(|session| session.2 >= time);
        match self.rng.random_range(0..10) {
            0 => {
                let made = self.author.step();
                self.ledgers.push(Arc::clone(&self.author.head.ledger));
                made
            }
            1 => {
                let (session, until) = (SessionId(self.rng.random()), time + DAY / 4);
                let keys = self.some_keys(2);
                self.sessions.push((session, keys.clone(), until));
                let expires = Time::from_millis(until);
                self.sign(&keys, Request::OpenSession { session, expires }, time)
            }
            2 | 3 if !self.sessions.is_empty() => {
                let index = self.rng.random_range(0..self.sessions.len());
                let (session, keys, until) = self.sessions[index].clone();
                let mut credential = self.credential(time);
                credential.expires = credential.expires.min(Time::from_millis(until));
                credential.proof = Proof::Session { session, mac: [1; 32] };
                self.made(call(), time, credential, &keys)
            }
            4 => {
                let keys = self.some_keys(20);
                self.sign(&keys, call(), time)
            }
            _ => {
                let keys = self.some_keys(1);
                self.sign(&keys, call(), time)
            }
        }
    }

    fn some_keys(&mut self, count: usize) -> Vec<PublicKey> {
        let all = self.keys.len();
        let mut keys: Vec<PublicKey> =
            (0..count).map(|_| self.keys[self.rng.random_range(0..all)]).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Appends versions, one or a few in a frame.
    fn live(&mut self, store: &Store, count: usize) {
        let mut left = count;
        while left > 0 {
            let some = self.rng.random_range(1..=left.min(3));
            let made: Vec<Made> = (0..some).map(|_| self.step()).collect();
            append(store, &made, &[]).unwrap();
            left -= some;
        }
    }

    /// Checks the ledger of each version from `from` on, and of the newest.
    fn check(&self, store: &Store, from: u64) {
        let id = self.author.head.id;
        for (seq, ledger) in (0..).zip(&self.ledgers).skip(from as usize) {
            let found = store.head_at(id, seq).unwrap().unwrap().head.ledger;
            assert_eq!(found, *ledger, "version {seq}");
            assert_eq!(found.hash(), ledger.hash());
            let version = store.version(id, seq).unwrap().unwrap();
            assert_eq!(store.ledger(id, &version).unwrap(), *ledger);
        }
        assert_eq!(store.newest_ledger(id).unwrap().as_ref(), self.ledgers.last());
        assert_eq!(store.head(id).unwrap().unwrap().head, self.author.head);
        assert_sound(store);
    }
}

fn call() -> Request {
    Request::Call { method: "step".to_string(), arguments: vec![1, 2, 3] }
}

/// Opens a database anew, with nothing but its log.
fn reopened(store: Store, path: &Path) -> Store {
    drop(store);
    Options::new().rebuild_index(path).unwrap();
    small().recent_rows_max(2).open(path).unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    (directory, path)
}

#[test]
fn the_ledger_of_every_version_is_read_from_a_log_that_is_opened_again() {
    let (_directory, path) = place();
    let mut store = small().recent_rows_max(2).open(&path).unwrap();
    let mut lives: Vec<Signed> =
        [(1, 4), (2, 40), (3, 300)].map(|(seed, keys)| Signed::new(&store, seed, keys)).into();
    for _ in 0..4 {
        lives.iter_mut().for_each(|life| life.live(&store, 60));
        // Versions behind ledgers that were read are over the same records.
        store = reopened(store, &path);
        lives.iter_mut().for_each(|life| life.live(&store, 20));
        lives.iter().for_each(|life| life.check(&store, 0));
    }
}

#[test]
fn the_ledgers_of_kept_versions_are_read_behind_retention() {
    let (_directory, path) = place();
    let mut store = small().open(&path).unwrap();
    let mut life = Signed::new(&store, 4, 200);
    for kept in [30, 100, 1] {
        life.live(&store, 150);
        store.set_retention(None, Retention::Versions(kept)).unwrap();
        let compacted = store.compact_all(Time::MIN, |_, _| {}).unwrap();
        assert!(compacted.trimmed_count > 0, "{compacted:?}");
        let from = life.ledgers.len() as u64 - kept;
        life.check(&store, from);
        // A version that is let go says so.
        for seq in 0..from {
            let version = match store.head_at(life.author.head.id, seq) {
                Ok(found) => found.unwrap().head.ledger,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::Pruned { .. }), "{error}");
                    continue;
                }
            };
            assert_eq!(version, life.ledgers[seq as usize]);
        }
        store = reopened(store, &path);
        life.check(&store, from);
    }
}

#[test]
fn backups_and_capsules_have_the_ledgers_as_well() {
    let (directory, path) = place();
    let place = |name: &str| directory.path().join(name);
    let store = small().open(&path).unwrap();
    let mut life = Signed::new(&store, 5, 150);
    life.live(&store, 200);
    store.backup(place("backup"), |_, _| {}).unwrap();
    life.live(&store, 60);
    store.backup(place("backup"), |_, _| {}).unwrap();
    small()
        .restore(place("backup"), place("restored"), Restoring::from(Until::End), |_, _| {})
        .unwrap();
    life.check(&small().existing(true).open(place("restored")).unwrap(), 0);
    let other = small().open(place("other")).unwrap();
    let id = life.author.head.id;
    let imported = |life: &Signed| {
        let mut bytes = Vec::new();
        store.export(id, &mut bytes, |_, _| {}).unwrap();
        let mut reader = CapsuleReader::new(&bytes[..]).unwrap();
        while reader.next().unwrap().is_some() {}
        other.import(&bytes[..], &life.author.head, reader.seal().unwrap()).unwrap();
        life.check(&other, 0);
    };
    imported(&life);
    // It comes back longer, behind what is here already; and it goes on there.
    life.live(&store, 50);
    imported(&life);
    life.live(&other, 50);
    life.check(&other, 0);
    let other = reopened(other, &place("other"));
    life.check(&other, 0);
}

/// Bytes that a version takes in the log, on average, when as many keys are remembered and sign in
/// turn, or one of them always does.
fn bytes_per_version(keys: usize, sign_in_turn: bool) -> f64 {
    let (_directory, path) = place();
    let store = Options::new().segment_bytes(64 << 20).open(&path).unwrap();
    let mut life = Signed::new(&store, 6, keys);
    let all = life.keys.clone();
    let put = |made: &Made| {
        let position = in_one_frame(std::slice::from_ref(made), &[], |append| {
            store.append(append, drop).unwrap()
        });
        position.to_string().split_once(':').unwrap().1.parse::<u64>().unwrap()
    };
    for some in all.chunks(64) {
        put(&life.sign(some, call(), START + 5000));
    }
    let (mut first, mut last) = (0, 0);
    let count = 800;
    for round in 0..=count {
        let key = if sign_in_turn { round % keys } else { 0 };
        // The nonces are numbers of the milliseconds, as callers draw them.
        let time = life.time() + 100;
        last = put(&life.sign(&all[key..=key], call(), time));
        first = if round == 0 { last } else { first };
    }
    life.ledgers.truncate(1);
    life.ledgers[0] = Arc::clone(&life.author.head.ledger);
    let newest = store.newest_ledger(life.author.head.id).unwrap();
    assert_eq!(newest.as_ref(), life.ledgers.last());
    (last - first) as f64 / count as f64
}

/// Regression: every signed version had the whole ledger in its record: 50 bytes for each key.
#[test]
fn a_signed_version_costs_as_much_when_a_thousand_keys_are_remembered() {
    let one = bytes_per_version(1, true);
    for keys in [2, 10, 300, 1000] {
        for in_turn in [true, false] {
            let bytes = bytes_per_version(keys, in_turn);
            println!("{keys} keys, in turn {in_turn}: {bytes:.1} bytes, {one:.1} with one");
            assert!(bytes <= one + 100.0, "{keys} keys: {bytes} bytes a version, {one} with one");
        }
    }
}
