//! Ledgers against a model that keeps everything in lists, and hashes and writes it by the words of
//! the format; and their changes, read back and altered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use object::credential::{Credential, EXPIRY_MAX, Proof, PublicKey, Signature};
use object::hash::{HASH_BYTES, SessionId};
use object::input::{Input, Request};
use object::ledger::{DAY, Ledger, Tracked};
use object::limits::{NONCES_MAX, PAST_RECENT_MAX};
use object::time::Time;

use crate::samples;
use crate::source::Source;

/// A recent version: its time, and the first bytes of the key that asked for it.
type Recent = (u64, Option<u64>);

/// The record of an action.
#[derive(Clone, Default)]
struct Mark {
    count: u64,
    seq: u64,
    time: u64,
    recent: Vec<Recent>,
}

/// A session: its end, the nonce of its last input, and its keys.
#[derive(Clone)]
struct Open {
    until: u64,
    nonce: u64,
    keys: Vec<PublicKey>,
}

/// A ledger, in the simplest way.
#[derive(Clone, Default)]
struct Model {
    nonces: BTreeMap<[u8; 32], (u64, u64)>,
    floor: Option<u64>,
    named_floor: Option<u64>,
    past: BTreeMap<String, Mark>,
    sessions: BTreeMap<[u8; 32], Open>,
}

/// The policy's part of the past, and of the keys.
#[derive(Clone)]
struct Reads {
    actions: Vec<&'static str>,
    recent: bool,
    named: Vec<PublicKey>,
}

impl Reads {
    fn tracked(&self) -> Tracked {
        let actions = self.actions.iter().map(ToString::to_string);
        Tracked::new(actions, self.recent).naming(self.named.iter().copied())
    }
}

impl Model {
    fn next(&mut self, reads: &Reads, seq: u64, input: &Input, signers: &[PublicKey]) {
        let time = input.time.as_millis();
        if let Some(Credential { nonce, expires, proof, .. }) = &input.credential {
            match proof {
                Proof::Session { session, .. } => {
                    if let Some(open) = self.sessions.get_mut(&session.0) {
                        open.nonce = *nonce;
                    }
                }
                _ => self.sign(reads, (*nonce, expires.as_millis()), time, signers),
            }
            self.sessions.retain(|_, open| open.until >= time);
            if let Request::OpenSession { session, expires } = &input.request {
                let (until, keys) = (expires.as_millis(), signers.to_vec());
                self.sessions.insert(session.0, Open { until, nonce: 0, keys });
            }
        }
        if input.request == Request::Delete {
            self.sessions.clear();
        }
        if matches!(input.request, Request::Amend { .. } | Request::Upgrade { .. }) {
            self.named_floor = self.floor;
        }
        self.past.retain(|action, _| reads.actions.contains(&action.as_str()));
        if !reads.recent {
            self.past.values_mut().for_each(|mark| mark.recent.clear());
        }
        let action = input.request.action();
        if reads.actions.contains(&action) {
            let mark = self.past.entry(action.to_string()).or_default();
            (mark.count, mark.seq, mark.time) = (mark.count + 1, seq, time);
            if reads.recent {
                let day = DAY.as_millis() as u64;
                mark.recent.retain(|recent| recent.0 + day > time);
                let signer =
                    signers.first().map(|key| u64::from_le_bytes(*key.0.first_chunk().unwrap()));
                mark.recent.push((time, signer));
                let excess = mark.recent.len().saturating_sub(PAST_RECENT_MAX);
                mark.recent.drain(..excess);
            }
        }
    }

    fn sign(
        &mut self,
        reads: &Reads,
        (nonce, expires): (u64, u64),
        time: u64,
        signers: &[PublicKey],
    ) {
        let lasts = EXPIRY_MAX.as_millis() as u64;
        self.nonces.retain(|_, (_, moment)| moment.saturating_add(lasts) >= time);
        for key in signers {
            let moment = self.nonces.get(&key.0).map_or(0, |(_, moment)| *moment).max(expires);
            self.nonces.insert(key.0, (nonce, moment));
        }
        while self.nonces.len() > NONCES_MAX {
            let is_named = |key: &[u8; 32]| reads.named.contains(&PublicKey(*key));
            let rank = |(key, (_, moment)): &(&[u8; 32], &(u64, u64))| {
                (signers.contains(&PublicKey(**key)), is_named(key), *moment, **key)
            };
            let (key, (_, moment)) = self.nonces.iter().min_by_key(rank).unwrap();
            let (key, moment) = (*key, *moment);
            self.nonces.remove(&key);
            self.floor = self.floor.max(Some(moment));
            if is_named(&key) {
                self.named_floor = self.named_floor.max(Some(moment));
            }
        }
        self.floor = self.floor.filter(|floor| *floor >= time);
        self.named_floor = self.named_floor.filter(|floor| *floor >= time);
    }

    fn floors(&self) -> Vec<u8> {
        let flags = u8::from(self.floor.is_some()) + 2 * u8::from(self.named_floor.is_some());
        let floors = [self.floor, self.named_floor].into_iter().flatten();
        [vec![flags], floors.flat_map(u64::to_le_bytes).collect()].concat()
    }

    /// The ledger's bytes when it is written whole.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = [vec![0], varint(self.nonces.len() as u64)].concat();
        for (key, (nonce, moment)) in &self.nonces {
            bytes.extend([key.to_vec(), varint(*nonce), varint(*moment)].concat());
        }
        bytes.extend(self.floors());
        bytes.extend([vec![0], varint(self.past.len() as u64)].concat());
        for (action, mark) in &self.past {
            bytes.extend(varint(action.len() as u64));
            bytes.extend(action.bytes());
            let numbers = [mark.count, mark.seq, mark.time, mark.recent.len() as u64];
            bytes.extend(numbers.into_iter().flat_map(varint));
            bytes.extend(mark.recent.iter().flat_map(recent));
        }
        bytes.extend([vec![0], varint(self.sessions.len() as u64)].concat());
        for (id, open) in &self.sessions {
            bytes.extend(id);
            let numbers = [open.until, open.nonce, open.keys.len() as u64];
            bytes.extend(numbers.into_iter().flat_map(varint));
            bytes.extend(open.keys.iter().flat_map(|key| key.0));
        }
        bytes
    }

    fn hash(&self) -> [u8; HASH_BYTES] {
        let nonces: Vec<([u8; 32], Vec<u8>)> = self
            .nonces
            .iter()
            .map(|(key, (nonce, moment))| {
                (*key, [&key[..], &nonce.to_le_bytes(), &moment.to_le_bytes()].concat())
            })
            .collect();
        let sessions: Vec<([u8; 32], Vec<u8>)> = self
            .sessions
            .iter()
            .map(|(id, open)| {
                let keys: Vec<u8> = open.keys.iter().flat_map(|key| key.0).collect();
                let ends = [open.until.to_le_bytes(), open.nonce.to_le_bytes()].concat();
                (*id, [&id[..], &ends, &varint(open.keys.len() as u64), &keys].concat())
            })
            .collect();
        let mut bytes = varint(nonces.len() as u64);
        bytes.extend(root(&nonces));
        bytes.extend(self.floors());
        bytes.extend(varint(self.past.len() as u64));
        for (action, mark) in &self.past {
            let mut leaf = varint(action.len() as u64);
            leaf.extend(action.bytes());
            leaf.extend([mark.count, mark.seq, mark.time].into_iter().flat_map(u64::to_le_bytes));
            leaf.extend(varint(mark.recent.len() as u64));
            leaf.extend(mark.recent.iter().flat_map(recent));
            bytes.extend(blake3::derive_key("continuant 2 ledger leaf", &leaf));
        }
        bytes.extend(varint(sessions.len() as u64));
        bytes.extend(root(&sessions));
        blake3::derive_key("continuant 2 ledger", &bytes)
    }
}

/// The hash of entries; nothing when there are none.
fn root(entries: &[([u8; 32], Vec<u8>)]) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    if entries.len() <= 4 {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.1.clone()).collect();
        return blake3::derive_key("continuant 2 ledger leaf", &bytes).to_vec();
    }
    let bit = |key: &[u8; 32], bit: usize| key[bit / 8] >> (7 - bit % 8) & 1;
    let first = (0..256)
        .find(|&at| entries.iter().any(|entry| bit(&entry.0, at) != bit(&entries[0].0, at)));
    let (left, right): (Vec<_>, Vec<_>) =
        entries.iter().cloned().partition(|entry| bit(&entry.0, first.unwrap()) == 0);
    let bytes = [root(&left), root(&right)].concat();
    blake3::derive_key("continuant 2 ledger node", &bytes).to_vec()
}

fn recent((time, signer): &Recent) -> Vec<u8> {
    let signer_bytes = signer.unwrap_or_default().to_le_bytes();
    [&time.to_le_bytes()[..], &[u8::from(signer.is_some())], &signer_bytes].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A lineage that is made up, in the model and in the product.
struct Life {
    source: Source,
    model: Model,
    ledger: Arc<Ledger>,
    reads: Reads,
    keys: Vec<PublicKey>,
    seq: u64,
    time: u64,
    /// True if little time passes.
    is_slow: bool,
}

const ACTIONS: [&str; 4] = ["add", "advance", "amend", "write"];

impl Life {
    fn new(key_count: usize) -> Life {
        let mut source = Source::random();
        // Keys that have long beginnings in common, too.
        let mut keys = BTreeSet::new();
        while keys.len() < key_count {
            let mut key: [u8; 32] = samples::array(&mut source);
            let same = [0, 0, 0, 20, 31][source.below(5)];
            key[..same].fill(0x55);
            keys.insert(PublicKey(key));
        }
        let keys: Vec<PublicKey> = keys.into_iter().collect();
        let reads = Reads { actions: Vec::new(), recent: false, named: Vec::new() };
        let (model, ledger) = Default::default();
        Life { source, model, ledger, reads, keys, seq: 0, time: 1 << 40, is_slow: false }
    }

    /// A lineage whose ledger has as many nonces as it may, and in which little time passes.
    fn full(key_count: usize) -> Life {
        let mut life = Life { is_slow: true, ..Life::new(key_count) };
        while life.model.nonces.len() < NONCES_MAX {
            life.seq += 1;
            let (input, keys) = life.signed(Request::Cycle, Time::from_millis(life.time), 64);
            life.model.next(&life.reads, life.seq, &input, &keys);
            life.ledger = life.ledger.next(Tracked::NONE, life.seq, &input, &keys);
        }
        life
    }

    fn some_keys(&mut self, count: usize) -> Vec<PublicKey> {
        let all = self.keys.len();
        let mut keys: Vec<PublicKey> =
            (0..count).map(|_| self.keys[self.source.below(all)]).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Makes a version by any input that is admitted.
    fn step(&mut self) {
        self.seq += 1;
        let day = DAY.as_millis() as usize;
        let spans = match self.is_slow {
            true => [0, 0, 1, 1, 10, 100, 1000],
            false => [0, 0, 1, 1000, day / 40, day / 40, day],
        };
        let most = spans[self.source.below(spans.len())];
        let mut span = self.source.below(1 + most);
        if self.source.below(200) == 0 && !self.is_slow {
            span = 9 * day;
        }
        self.time += span as u64;
        let time = Time::from_millis(self.time);
        let until = |source: &mut Source| {
            let span = [1000, day, 6 * day][source.below(3)];
            time.saturating_add(Duration::from_millis(source.below(span + 1) as u64))
        };
        let (input, signers) = match self.source.below(12) {
            0 => {
                self.draw_policy();
                (
                    Input { request: Request::Amend { policy: vec![] }, time, credential: None },
                    vec![],
                )
            }
            1 if self.source.below(4) == 0 => self.signed(Request::Delete, time, 1),
            1 => (Input { request: Request::Cycle, time, credential: None }, vec![]),
            2 | 3 => self.in_session(time),
            4 => {
                let session = SessionId(samples::array(&mut self.source));
                let request = Request::OpenSession { session, expires: until(&mut self.source) };
                self.signed(request, time, 1)
            }
            5 => {
                let many = [3, 8, 64][self.source.below(3)];
                self.signed(Request::Write { fields: vec![] }, time, many)
            }
            _ => {
                let request = Request::Call { method: "add".to_string(), arguments: vec![] };
                self.signed(request, time, 1)
            }
        };
        let tracked = self.reads.tracked();
        self.model.next(&self.reads, self.seq, &input, &signers);
        self.ledger = self.ledger.next(&tracked, self.seq, &input, &signers);
    }

    fn draw_policy(&mut self) {
        let actions = ACTIONS.into_iter().filter(|_| self.source.below(2) == 0).collect();
        let named = self.source.below(30);
        let named = self.some_keys(named);
        self.reads = Reads { actions, recent: self.source.below(4) > 0, named };
    }

    fn signed(&mut self, request: Request, time: Time, count: usize) -> (Input, Vec<PublicKey>) {
        let keys = self.some_keys(count);
        let least = |key: &PublicKey| self.model.nonces.get(&key.0).map_or(0, |known| known.0);
        let least = keys.iter().map(least).max().unwrap_or_default();
        let most = 1 << [1, 7, 20][self.source.below(3)];
        let nonce = least + 1 + self.source.below(most) as u64;
        let span = self.source.below(EXPIRY_MAX.as_millis() as usize + 1) as u64;
        let mut credential =
            Credential::new(nonce, time.saturating_add(Duration::from_millis(span)));
        let signatures = keys.iter().map(|key| Signature { key: key.0, bytes: [0; 64] }).collect();
        credential.proof = Proof::Signatures(signatures);
        (Input { request, time, credential: Some(credential) }, keys)
    }

    fn in_session(&mut self, time: Time) -> (Input, Vec<PublicKey>) {
        let open: Vec<_> = self.model.sessions.iter().collect();
        let request = Request::Write { fields: vec![] };
        if open.is_empty() {
            return (Input { request, time, credential: None }, vec![]);
        }
        let (id, open) = open[self.source.below(open.len())];
        let mut credential = Credential::new(open.nonce + 1 + self.source.below(300) as u64, time);
        credential.proof = Proof::Session { session: SessionId(*id), mac: [0; 32] };
        (Input { request, time, credential: Some(credential) }, open.keys.clone())
    }

    fn check(&self) {
        assert_eq!(self.ledger.encode(), self.model.encode(), "the ledger is the model's");
        assert_eq!(self.ledger.hash().0, self.model.hash(), "its hash is that of the format");
        let again = Ledger::decode(&self.ledger.encode()).unwrap();
        assert_eq!(again, *self.ledger);
        assert_eq!(again.hash(), self.ledger.hash(), "built at once, it has the same root");
    }
}

/// The old rules, on lists: displacement, floors, forgetting, sessions, the recent ring.
#[test]
fn a_ledger_is_what_the_model_says_after_every_version() {
    for keys in [1, 3, 4, 5, 6, 40] {
        let mut life = Life::new(keys);
        for _ in 0..300 {
            life.step();
            life.check();
        }
    }
}

#[test]
fn a_full_ledger_is_what_the_model_says() {
    let mut life = Life::full(NONCES_MAX + 200);
    let (mut displaced, mut floors, mut round) = (0, 0, 0);
    while round < 120 || displaced <= 50 || floors <= 10 {
        assert!(round < 5_000, "{displaced} displaced, {floors} floors");
        let known: Vec<[u8; 32]> = life.model.nonces.keys().copied().collect();
        life.step();
        displaced += known.iter().filter(|key| !life.model.nonces.contains_key(*key)).count();
        floors += u32::from(life.model.floor.is_some() && life.model.named_floor.is_some());
        if round % 8 == 0 {
            life.check();
        }
        round += 1;
    }
    life.check();
}

#[test]
fn a_ledger_follows_from_any_earlier_one_and_the_changes_since() {
    for mut life in [Life::new(2), Life::new(30), Life::full(NONCES_MAX + 50)] {
        let mut before = vec![Arc::clone(&life.ledger)];
        for round in 0..if life.is_slow { 40 } else { 300 } {
            life.step();
            let base = &before[life.source.below(before.len())];
            let changes = life.ledger.changes(base);
            let changed = base.changed_by(&changes).unwrap();
            assert_eq!(changed, *life.ledger);
            assert_eq!(changed.hash(), life.ledger.hash());
            // Other bytes are other changes, or none.
            let mut other = changes;
            for _ in 0..20 {
                let at = life.source.below(other.len());
                other[at] = other[at].wrapping_add(1 + life.source.below(255) as u8);
                if let Ok(changed) = base.changed_by(&other) {
                    assert_eq!(changed.changes(base), other);
                }
            }
            if round % 9 == 0 {
                before.push(Arc::clone(&life.ledger));
            }
        }
    }
}

#[test]
fn changes_cost_what_changed() {
    let mut life = Life::full(NONCES_MAX + 1);
    for _ in 0..100 {
        let before = Arc::clone(&life.ledger);
        let known = loop {
            let (input, keys) = life.signed(Request::Cycle, Time::from_millis(life.time), 1);
            if life.model.nonces.contains_key(&keys[0].0) {
                break (input, keys);
            }
        };
        life.ledger = life.ledger.next(Tracked::NONE, 1, &known.0, &known.1);
        life.model.next(&life.reads, 1, &known.0, &known.1);
        let bytes = life.ledger.changes(&before).len();
        assert!(bytes <= 24, "{bytes} bytes for one signer of {}", life.model.nonces.len());
    }
}

#[test]
fn changes_of_something_else_are_refused() {
    let mut life = Life::new(8);
    for _ in 0..60 {
        let (input, keys) = life.signed(Request::Cycle, Time::from_millis(life.time), 2);
        life.ledger = life.ledger.next(Tracked::NONE, 1, &input, &keys);
        life.model.next(&life.reads, 1, &input, &keys);
    }
    let base = Ledger::clone(&life.ledger);
    let all = base.encode();
    let count = life.model.nonces.len() as u8;
    let refused = |bytes: &[u8]| base.changed_by(bytes).unwrap_err().to_string();
    let rest = [0, 0, 0, 0, 0, 0];
    // Nothing changed: the shortest there is.
    assert_eq!(base.changed_by(&[0, 0, 0, 0, 0, 0, 0]).unwrap(), base);
    for (what, bytes) in [
        ("one that is not there", [&[1, count, 0, 0, 0][..], &rest[1..]].concat()),
        ("more than there are", [&[count + 1][..], &[0; 200]].concat()),
        ("one removed with a moment", [&[1, 0, 0, 1, 0][..], &rest[1..]].concat()),
        ("a nonce beyond the last one", {
            let most = [[0xff; 9].to_vec(), vec![1]].concat();
            [&[1, 0][..], &most, &[0, 0], &rest[1..]].concat()
        }),
        ("keys that are there", all),
        ("a floor's flag alone", vec![0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("bytes behind", vec![0; 8]),
        ("an action that is not there", vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("a session that is not there", vec![0, 0, 0, 0, 0, 1, 0, 0, 0]),
        ("more than fit", [&[0, 0x81, 8][..], &[0; 40_000]].concat()),
        ("cut", vec![0, 0, 0, 0]),
    ] {
        let error = refused(&bytes);
        assert!(error.contains("changes of a ledger"), "{what}: {error}");
    }
}
