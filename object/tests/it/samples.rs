//! Seeded structures of every format.
//!
//! Invariant: a seed gives the same structure for ever: committed hashes depend on it.

use std::sync::Arc;

use object::commit::Commit;
use object::credential::{Batch, Credential, Proof, PublicKey, SessionKey, Signature};
use object::effects::{Admission, Effects, Output, WakeChange};
use object::evidence::Leaf;
use object::hash::*;
use object::header::{Header, Kind};
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::{Ledger, Tracked, Used};
use object::limits::{FUEL_MAX, MEMORY_BYTES_MAX, NONCES_MAX, PAGE_BYTES, SEQ_MAX};
use object::lineage::jump_seq;
use object::memory::Page;
use object::message::{Message, Origin};
use object::refusal::{Reason, Refusal, Verdict};
use object::secret::Secret;
use object::time::Time;

use crate::source::Source;

pub(crate) const REASONS: [Reason; 23] = [
    Reason::Credential,
    Reason::Expired,
    Reason::ExpiresTooLate,
    Reason::Replayed,
    Reason::Reordered,
    Reason::NoncesFull,
    Reason::WrongParent,
    Reason::NotDue,
    Reason::OutOfFuel,
    Reason::StackExhausted,
    Reason::Trap,
    Reason::State,
    Reason::Forbidden,
    Reason::NotPermitted,
    Reason::Evaluation,
    Reason::Policy,
    Reason::NoSession,
    Reason::SessionOpen,
    Reason::SessionCode,
    Reason::SessionsFull,
    Reason::Guard,
    Reason::Message,
    Reason::Migration,
];

pub(crate) fn array<const N: usize>(source: &mut Source) -> [u8; N] {
    std::array::from_fn(|_| source.bits() as u8)
}

pub(crate) fn bytes(source: &mut Source, end: usize) -> Vec<u8> {
    let count = source.below(end);
    (0..count).map(|_| source.bits() as u8).collect()
}

pub(crate) fn text(source: &mut Source, end: usize) -> String {
    let characters = ['a', 'k', 'z', '-', '0', 'é', '€', '😀'];
    let count = source.below(end);
    let text: String = (0..count).map(|_| characters[source.below(8)]).collect();
    let cut = text.floor_char_boundary(end);
    text[..cut].to_string()
}

/// A number of any magnitude.
pub(crate) fn number(source: &mut Source) -> u64 {
    let shift = source.below(64);
    source.bits() >> shift
}

fn time(source: &mut Source) -> Time {
    Time::from_millis(number(source))
}

pub(crate) fn header(source: &mut Source) -> Header {
    let genesis = source.below(8) == 0;
    let seq = if genesis { 0 } else { 1 + number(source) % SEQ_MAX };
    let kinds = [Kind::Call, Kind::Cycle, Kind::Write];
    let kind = if genesis { Kind::Create } else { kinds[source.below(3)] };
    let parent = (!genesis).then(|| VersionHash(array(source)));
    let jump = match seq {
        0 => None,
        _ if jump_seq(seq) + 1 == seq => parent,
        _ => Some(VersionHash(array(source))),
    };
    let refusal_count = if source.below(2) == 0 { 0 } else { number(source) % SEQ_MAX };
    Header {
        kind,
        instrumentation: source.bits() as u32,
        seq,
        time: time(source),
        wake: (source.below(2) == 0).then(|| time(source)),
        fuel: number(source),
        memory_bytes: (number(source) % MEMORY_BYTES_MAX).next_multiple_of(PAGE_BYTES as u64),
        refusal_count,
        page_count: source.bits() as u32,
        object: (!genesis).then(|| ObjectId(array(source))),
        parent,
        jump,
        memory_root: MemoryRoot(array(source)),
        globals: GlobalsHash(array(source)),
        code: CodeHash(array(source)),
        schema: SchemaHash(array(source)),
        policy: PolicyHash(array(source)),
        input: InputHash(array(source)),
        effects: EffectsHash(array(source)),
        admission: AdmissionHash(array(source)),
        ledger: LedgerHash(array(source)),
        refusals: (refusal_count > 0).then(|| RefusalHash(array(source))),
    }
}

pub(crate) fn request(source: &mut Source) -> Request {
    match source.below(4) {
        0 => Request::Create { salt: array(source), arguments: bytes(source, 40) },
        1 => Request::Call { method: text(source, 20), arguments: bytes(source, 40) },
        2 => Request::Cycle,
        _ => {
            let count = source.below(4);
            let mut field = || (text(source, 20), bytes(source, 12));
            Request::Write { fields: (0..count).map(|_| field()).collect() }
        }
    }
}

/// An input that makes a fork.
pub(crate) fn fork(source: &mut Source) -> Input {
    let request = Request::Fork { of: Box::new(header(source)) };
    Input { request, time: time(source), credential: None }
}

/// An input that delivers a message.
pub(crate) fn message(source: &mut Source) -> Input {
    let origin = Origin {
        sender: ObjectId(array(source)),
        seq: number(source),
        version: VersionHash(array(source)),
        code: CodeHash(array(source)),
        policy: PolicyHash(array(source)),
        first_policy: (source.below(2) == 0).then(|| PolicyHash(array(source))),
        index: source.bits() as u32,
        fuel: number(source) % (FUEL_MAX + 1),
    };
    let (method, arguments) = (text(source, 20), bytes(source, 40));
    let request = Request::Message { origin: Box::new(origin), method, arguments };
    let credential = (source.below(4) == 0).then(|| credential(source));
    Input { request, time: time(source), credential }
}

pub(crate) fn amendment(source: &mut Source) -> Input {
    let request = Request::Amend { policy: bytes(source, 60) };
    let credential = (source.below(2) == 0).then(|| credential(source));
    Input { request, time: time(source), credential }
}

pub(crate) fn credential(source: &mut Source) -> Credential {
    let mut credential = Credential::new(number(source), time(source));
    credential.parent = (source.below(2) == 0).then(|| VersionHash(array(source)));
    for _ in 0..source.below(4) {
        credential.signatures_mut().push(Signature { key: array(source), bytes: array(source) });
    }
    credential
}

pub(crate) fn input(source: &mut Source) -> Input {
    let request = request(source);
    let credential = (source.below(2) == 0).then(|| credential(source));
    Input { request, time: time(source), credential }
}

/// An input of a batch.
pub(crate) fn batched(source: &mut Source) -> Input {
    let mut batch = Batch::new();
    let count = 1 + source.below(40);
    for _ in 0..count {
        batch.push(ObjectId(array(source)), &request(source), credential(source));
    }
    let mut credential = batch.sign(&[]).unwrap().swap_remove(source.below(count));
    for _ in 0..source.below(4) {
        credential.signatures_mut().push(Signature { key: array(source), bytes: array(source) });
    }
    Input { request: request(source), time: time(source), credential: Some(credential) }
}

/// An upgrade.
pub(crate) fn upgrade(source: &mut Source) -> Input {
    let request =
        Request::Upgrade { code: CodeHash(array(source)), policy: PolicyHash(array(source)) };
    Input { request, ..input(source) }
}

/// The opening of a session, or an input in one.
pub(crate) fn of_session(source: &mut Source) -> Input {
    let mut input = input(source);
    if source.below(3) == 0 {
        let session = SessionId(array(source));
        input.request = Request::OpenSession { session, expires: time(source) };
    }
    if source.below(3) > 0 {
        let mut credential = credential(source);
        credential.proof = Proof::Session { session: SessionId(array(source)), mac: array(source) };
        input.credential = Some(credential);
    }
    input
}

/// A ledger with sessions, if any is still open.
pub(crate) fn sessions(source: &mut Source) -> Arc<Ledger> {
    let mut ledger = ledger(source);
    let time = u64::MAX / 2;
    for step in 0..source.below(6) as u64 {
        let mut keys: Vec<PublicKey> =
            (0..1 + source.below(3)).map(|_| PublicKey(array(source))).collect();
        keys.sort();
        let key = SessionKey::from_secret(&array(source));
        let expires = Time::from_millis(time + source.below(50) as u64);
        let request = Request::OpenSession { session: key.id(), expires };
        let credential = Some(Credential::new(1 + number(source) / 2, Time::MAX));
        let input = Input { request, time: Time::from_millis(time + 10 * step), credential };
        ledger = ledger.next(Tracked::NONE, step + 1, &input, &keys);
        let mut credential = Credential::new(1 + number(source) / 2, Time::MAX);
        credential.put_in_session(&key, ObjectId([0; 32]), &Request::Cycle);
        if source.below(2) == 0 {
            let input = Input { request: Request::Cycle, credential: Some(credential), ..input };
            ledger = ledger.next(Tracked::NONE, step + 1, &input, &keys);
        }
    }
    ledger
}

pub(crate) fn effects(source: &mut Source) -> Effects {
    let wake = match source.below(3) {
        0 => WakeChange::Keep,
        1 => WakeChange::Clear,
        _ => WakeChange::Set(time(source)),
    };
    let result = bytes(source, 20);
    let count = source.below(4);
    let mut output = || Output { name: text(source, 12), payload: bytes(source, 30) };
    let outputs = (0..count).map(|_| output()).collect();
    let count = source.below(4);
    let mut message = || Message {
        to: ObjectId(array(source)),
        method: text(source, 20),
        arguments: bytes(source, 30),
    };
    let messages = (0..count).map(|_| message()).collect();
    Effects { result, outputs, wake, messages }
}

pub(crate) fn admission(source: &mut Source) -> Admission {
    let signers = (0..source.below(4)).map(|_| PublicKey(array(source))).collect();
    let rules = (0..source.below(4)).map(|_| text(source, 20)).collect();
    let migrated = (0..source.below(4)).map(|_| text(source, 20)).collect();
    Admission { signers, rules, migrated }
}

pub(crate) fn globals(source: &mut Source) -> Vec<u64> {
    (0..source.below(6)).map(|_| number(source)).collect()
}

/// A ledger of nonces, with floors or without.
pub(crate) fn nonces(source: &mut Source) -> Ledger {
    let mut ledger = Ledger::default();
    let time = number(source) / 2;
    let rounds = [1, 2, NONCES_MAX as u64 / 32 + 2][source.below(20).saturating_sub(17)];
    for step in 0..rounds {
        let count = if rounds > 2 { 32 } else { 1 + source.below(3) };
        let mut keys: Vec<PublicKey> = (0..count).map(|_| PublicKey(array(source))).collect();
        keys.sort();
        let expires = Time::from_millis(u64::MAX - number(source) / 4);
        let tracked = Tracked::default().naming(keys.first().copied());
        let used = Used { nonce: number(source), expires };
        ledger.nonces.record(&keys, used, Time::from_millis(time + step), &tracked);
    }
    ledger
}

pub(crate) fn ledger(source: &mut Source) -> Arc<Ledger> {
    let mut ledger = Arc::new(Ledger::default());
    let actions = ["add", "write", "b-c"].map(str::to_string).into_iter();
    let tracked = Tracked::new(actions.take(source.below(4)), source.below(2) == 0);
    let time = number(source) / 2;
    for seq in 1..source.below(80) as u64 + 1 {
        let request = match source.below(3) {
            0 => Request::Call { method: "add".to_string(), arguments: Vec::new() },
            1 => Request::Write { fields: Vec::new() },
            _ => Request::Cycle,
        };
        let mut keys = vec![PublicKey(array(source)), PublicKey(array(source))];
        keys.sort();
        keys.truncate(source.below(8).saturating_sub(5));
        let credential = (!keys.is_empty()).then(|| Credential::new(number(source), Time::MAX));
        let input = Input { request, time: Time::from_millis(time + seq), credential };
        ledger = ledger.next(&tracked, seq, &input, &keys);
    }
    ledger
}

pub(crate) fn refusal(source: &mut Source) -> Refusal {
    let rules = (0..source.below(3)).map(|_| text(source, 20)).collect();
    let verdict = Verdict::new(REASONS[source.below(16)], rules, text(source, 60));
    Refusal {
        object: ObjectId(array(source)),
        seq: number(source),
        parent: VersionHash(array(source)),
        previous: (source.below(2) == 0).then(|| RefusalHash(array(source))),
        refused: RefusedHash(array(source)),
        input: input(source).encode(),
        verdict,
    }
}

/// Returns a leaf of the evidence tree, of any entry.
pub(crate) fn leaf(source: &mut Source) -> Leaf {
    let (object, number, hash) = (ObjectId(array(source)), number(source), array(source));
    let (version, refusal) = (VersionHash(hash), RefusalHash(hash));
    let kind = Kind::ALL[source.below(9)];
    match source.below(5) {
        0 => Leaf::Version { object, seq: number, kind, hash: version },
        1 => {
            let reason = REASONS[source.below(23)];
            Leaf::Refusal { object, number, reason, hash: refusal }
        }
        2 => Leaf::AdoptedVersion { object, seq: number, hash: version },
        3 => Leaf::AdoptedRefusal { object, number, hash: refusal },
        _ => Leaf::Loss { end: number, check: hash },
    }
}

/// Returns a secret from some version on: early ones as often as late ones.
pub(crate) fn secret(source: &mut Source) -> Secret {
    let from = (source.bits() >> source.below(64)).min(SEQ_MAX);
    Secret::new(array(source)).since(from).unwrap()
}

/// Returns a page whose first bytes are random, never all zero.
pub(crate) fn page(source: &mut Source) -> Page {
    let mut page = [0; PAGE_BYTES];
    page[..16].copy_from_slice(&array::<16>(source));
    page[PAGE_BYTES - 1] = 1;
    page
}

pub(crate) fn base(source: &mut Source) -> BaseImage {
    let mut memory = vec![0; source.below(4) * PAGE_BYTES];
    for start in (0..memory.len()).step_by(PAGE_BYTES) {
        if source.below(2) == 0 {
            memory[start..start + PAGE_BYTES].copy_from_slice(&page(source));
        }
    }
    BaseImage::new(&memory, globals(source)).unwrap()
}

/// An encoded commit.
pub(crate) fn commit(source: &mut Source) -> Vec<u8> {
    let mut header = header(source);
    let pages: Vec<(u32, Page)> =
        (0..source.below(3)).map(|at| (at as u32 * 3, page(source))).collect();
    header.memory_bytes = (8 * PAGE_BYTES) as u64;
    header.page_count = pages.len() as u32;
    let globals = object::effects::encode_globals(&globals(source));
    let commit = Commit {
        header,
        input: &input(source).encode(),
        effects: &effects(source).encode(),
        admission: &admission(source).encode(),
        globals: (source.below(2) == 0).then_some(&globals[..]),
        pages: pages.iter().map(|(index, page)| (*index, page)).collect(),
    };
    let mut bytes = Vec::new();
    commit.encode_into(&mut bytes);
    bytes
}
