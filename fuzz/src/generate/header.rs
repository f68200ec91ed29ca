//! Version headers and their payloads: structures with any field values that their encodings can
//! hold, even ones that no object could have.
//!
//! This module does not know lineages.

use object::credential::{Credential, Place, Proof, PublicKey, Signature};
use object::effects::{Admission, Effects, Output, WakeChange};
use object::hash::{
    AdmissionHash, BatchRoot, CodeHash, EffectsHash, GlobalsHash, InputHash, LedgerHash,
    MemoryRoot, ObjectId, PolicyHash, RefusalHash, RefusedHash, SchemaHash, SessionId, VersionHash,
};
use object::header::{Header, Kind};
use object::input::{Input, Request};
use object::limits::{FUEL_MAX, SEQ_MAX};
use object::lineage::jump_seq;
use object::message::{Message, Origin};
use object::refusal::{Reason, Refusal, Verdict};
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::bytes::{number, random};

/// A header that decodes.
pub(crate) fn header(rng: &mut StdRng) -> Header {
    let kinds = [Kind::Create, Kind::Call, Kind::Cycle, Kind::Write, Kind::Upgrade];
    let kind = kinds[rng.random_range(0..5)];
    let genesis = kind == Kind::Create;
    let seq = if genesis { 0 } else { number(rng).clamp(1, SEQ_MAX) };
    let parent = (!genesis).then(|| VersionHash(rng.random()));
    let refusal_count = number(rng).min(SEQ_MAX);
    let jump = match jump_seq(seq) + 1 == seq {
        true => parent,
        false => parent.map(|_| VersionHash(rng.random())),
    };
    Header {
        kind,
        instrumentation: number(rng) as u32,
        seq,
        time: Time::from_millis(number(rng)),
        wake: rng.random_bool(0.5).then(|| Time::from_millis(number(rng))),
        fuel: number(rng),
        memory_bytes: rng.random_range(0..=1 << 19) * 4096,
        refusal_count,
        page_count: number(rng) as u32,
        object: parent.map(|_| ObjectId(rng.random())),
        parent,
        jump,
        memory_root: MemoryRoot(rng.random()),
        globals: GlobalsHash(rng.random()),
        code: CodeHash(rng.random()),
        schema: SchemaHash(rng.random()),
        policy: PolicyHash(rng.random()),
        input: InputHash(rng.random()),
        effects: EffectsHash(rng.random()),
        admission: AdmissionHash(rng.random()),
        ledger: LedgerHash(rng.random()),
        refusals: (refusal_count > 0).then(|| RefusalHash(rng.random())),
    }
}

/// An input.
pub(crate) fn input(rng: &mut StdRng) -> Input {
    let request = match rng.random_range(0..9) {
        8 => Request::Delete,
        7 => Request::Upgrade { code: CodeHash(rng.random()), policy: PolicyHash(rng.random()) },
        6 => Request::Fork { of: Box::new(header(rng)) },
        5 => Request::Message {
            origin: Box::new(origin(rng)),
            method: name(rng),
            arguments: blob(rng),
        },
        4 => Request::OpenSession {
            session: SessionId(rng.random()),
            expires: Time::from_millis(number(rng)),
        },
        0 => Request::Create { salt: rng.random(), arguments: blob(rng) },
        1 => Request::Call { method: name(rng), arguments: blob(rng) },
        2 => Request::Cycle,
        _ => {
            let count = rng.random_range(0..4);
            Request::Write { fields: (0..count).map(|_| (name(rng), blob(rng))).collect() }
        }
    };
    let credential = rng.random_bool(0.5).then(|| {
        let mut credential = Credential::new(number(rng), Time::from_millis(number(rng)));
        credential.parent = rng.random_bool(0.5).then(|| VersionHash(rng.random()));
        let count = rng.random_range(0..4);
        let signature = |_| Signature {
            key: rng.random(),
            bytes: random(rng, 64).try_into().expect("64 bytes"),
        };
        let signatures = (0..count).map(signature).collect();
        credential.proof = match rng.random_range(0..3) {
            0 => Proof::Signatures(signatures),
            1 => Proof::Batch(place(rng), signatures),
            _ => Proof::Session { session: SessionId(rng.random()), mac: rng.random() },
        };
        credential
    });
    Input { request, time: Time::from_millis(number(rng)), credential }
}

/// Puts the least and the greatest, or what is beyond a limit or missing, where there is something.
pub(crate) fn put_extremes(rng: &mut StdRng, input: &mut Input) {
    match &mut input.request {
        Request::Message { origin, .. } => match rng.random_range(0..4) {
            0 => origin.first_policy = Some(PolicyHash([0; 32])),
            1 => origin.fuel = number(rng),
            2 => (origin.seq, origin.index) = (u64::MAX, u32::MAX),
            _ => origin.version = VersionHash([0; 32]),
        },
        Request::Fork { of, .. } => match rng.random_range(0..6) {
            0 => of.wake = Some(Time::MAX),
            1 => of.wake = Some(Time::MIN),
            2 => of.seq = number(rng),
            3 => of.parent = [None, Some(VersionHash([0; 32]))][rng.random_range(0..2)],
            4 => of.refusal_count = number(rng),
            _ => (of.refusals, of.time) = (Some(RefusalHash([0; 32])), Time::MAX),
        },
        Request::OpenSession { session, expires } => {
            (*session, *expires) =
                (SessionId([0; 32]), [Time::MIN, Time::MAX][rng.random_range(0..2)]);
        }
        Request::Upgrade { code, policy } => {
            (*code, *policy) = (CodeHash([0; 32]), PolicyHash([0; 32]));
        }
        Request::Create { .. }
        | Request::Call { .. }
        | Request::Cycle
        | Request::Write { .. }
        | Request::Amend { .. }
        | Request::Delete => {}
    }
    if let Some(credential) = &mut input.credential {
        match rng.random_range(0..4) {
            0 => credential.parent = Some(VersionHash([0; 32])),
            1 => (credential.nonce, credential.expires) = (0, Time::MIN),
            2 => (credential.nonce, credential.expires) = (u64::MAX, Time::MAX),
            _ => {}
        }
    }
    input.time = [Time::MIN, Time::MAX, input.time][rng.random_range(0..3)];
}

/// Draws the origin of a message.
pub(crate) fn origin(rng: &mut StdRng) -> Origin {
    Origin {
        sender: ObjectId(rng.random()),
        seq: number(rng),
        version: VersionHash(rng.random()),
        code: CodeHash(rng.random()),
        policy: PolicyHash(rng.random()),
        first_policy: rng.random_bool(0.5).then(|| PolicyHash(rng.random())),
        index: rng.random(),
        fuel: number(rng) % (FUEL_MAX + 1),
    }
}

/// A place in a batch.
fn place(rng: &mut StdRng) -> Place {
    let count = 1 << rng.random_range(0..17);
    let count = rng.random_range(1..=count);
    let index = rng.random_range(0..count);
    let place = (0..17).find_map(|steps| {
        let path = (0..steps).map(|_| BatchRoot(rng.random())).collect();
        Place::new(index, count, path)
    });
    place.expect("every leaf is some steps below the root")
}

/// Effects.
pub(crate) fn effects(rng: &mut StdRng) -> Effects {
    let count = rng.random_range(0..4);
    let outputs = (0..count).map(|_| Output { name: name(rng), payload: blob(rng) }).collect();
    let count = rng.random_range(0..3);
    let message = |_| {
        let to = ObjectId(rng.random());
        Message { to, method: name(rng), arguments: blob(rng) }
    };
    let messages = (0..count).map(message).collect();
    Effects { result: blob(rng), outputs, wake: wake(rng), messages }
}

/// A change of the wake.
pub(crate) fn wake(rng: &mut StdRng) -> WakeChange {
    match rng.random_range(0..3) {
        0 => WakeChange::Keep,
        1 => WakeChange::Clear,
        _ => WakeChange::Set(Time::from_millis(number(rng))),
    }
}

/// An admission.
pub(crate) fn admission(rng: &mut StdRng) -> Admission {
    let signers = (0..rng.random_range(0..4)).map(|_| PublicKey(rng.random())).collect();
    let rules = (0..rng.random_range(0..4)).map(|_| name(rng)).collect();
    let migrated = match rng.random_bool(0.2) {
        true => (0..rng.random_range(1..4)).map(|_| name(rng)).collect(),
        false => Vec::new(),
    };
    Admission { signers, rules, migrated }
}

/// A refusal.
pub(crate) fn refusal(rng: &mut StdRng) -> Refusal {
    let reason = [Reason::Trap, Reason::Forbidden, Reason::Evaluation][rng.random_range(0..3)];
    let rules = (0..rng.random_range(0..4)).map(|_| name(rng)).collect();
    Refusal {
        object: ObjectId(rng.random()),
        seq: number(rng),
        parent: VersionHash(rng.random()),
        previous: rng.random_bool(0.5).then(|| RefusalHash(rng.random())),
        refused: RefusedHash(rng.random()),
        input: input(rng).encode(),
        verdict: Verdict::new(reason, rules, name(rng)),
    }
}

/// A few bytes.
pub(crate) fn blob(rng: &mut StdRng) -> Vec<u8> {
    let count = rng.random_range(0..24);
    random(rng, count)
}

/// A short text, of letters of all lengths.
pub(crate) fn name(rng: &mut StdRng) -> String {
    let letters = ['a', 'z', '-', '0', 'é', '€', '𝄞', '"', '\n'];
    (0..rng.random_range(0..12)).map(|_| letters[rng.random_range(0..letters.len())]).collect()
}
