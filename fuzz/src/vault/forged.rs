//! Commits and refusals forged by somebody who knows how to hash and has no key.
//!
//! This module does not know who is shown them. Each has its expected verdict beside it: see
//! [`Told`].

use std::sync::Arc;
use std::time::Duration;

use object::commit::Commit;
use object::credential::{Proof, PublicKey};
use object::effects::{Admission, Effects, Output, WakeChange, globals_hash};
use object::hash::{
    AdmissionHash, CodeHash, EffectsHash, GlobalsHash, InputHash, LedgerHash, MemoryRoot, ObjectId,
    PolicyHash, RefusalHash, SchemaHash, VersionHash,
};
use object::header::{Header, Kind};
use object::image::Image;
use object::input::{Input, Request};
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page, Tree};
use object::refusal::{Reason, Refusal};
use object::secret::Secret;
use object::time::Time;
use policy::definition::Definition;
use rand::RngExt;
use rand::rngs::StdRng;
use schema::write;

use super::law::public;
use super::model::Signed;
use super::{STATE_PAGE, State};
use crate::generate::bytes;

/// The place in a commit of the instrumentation's version, and of the fuel.
const INSTRUMENTATION: std::ops::Range<usize> = 4..8;
const FUEL: std::ops::Range<usize> = 32..40;

/// Admissions that a forger would write beside an input that was refused.
pub(crate) fn admissions(
    rng: &mut StdRng,
    signed: Option<&Signed>,
    input: &Input,
) -> Vec<Admission> {
    let rules =
        ["anyone", "known", "owner", "itself", "quorum", "steady", "rising", "charter", "handed"];
    let rules = vec![rules[rng.random_range(0..rules.len())].to_string()];
    let named = signed.map_or(Vec::new(), |signed| signed.keys.clone());
    let named: Vec<PublicKey> = named.into_iter().map(PublicKey).collect();
    let none = Admission::default();
    let mut all = vec![
        Admission { signers: named.clone(), rules: rules.clone(), ..none.clone() },
        Admission { signers: named, rules: rules.clone(), migrated: rules.clone() },
    ];
    if input.credential.is_none() {
        let mut signers = vec![PublicKey(public(0)), PublicKey(public(1))];
        signers.sort();
        all.push(Admission { signers, rules, ..none });
    }
    all
}

/// A commit that would follow, changed so that any verifier refutes it; and what was changed.
pub(crate) fn change(
    rng: &mut StdRng,
    before: &Before<'_>,
    bytes: &[u8],
) -> (&'static str, Vec<u8>) {
    if rng.random_bool(0.3) {
        return ("a commit with a bit that was turned", turned(rng, bytes));
    }
    let mut parts = Parts::decode(bytes);
    let what = match rng.random_range(0..3) {
        _ if parts.header.kind == Kind::Create => parts.forge_header(rng),
        0 => parts.forge_header(rng),
        1 => parts.forge_admission(rng, before),
        _ if ran_no_code(&parts.header) => parts.forge_unrun(rng, before),
        _ => parts.forge_header(rng),
    };
    (what, parts.encode())
}

/// Forges the next commit: one whose claimed results of the code's step are changed.
pub(crate) fn retell(
    rng: &mut StdRng,
    before: &Before<'_>,
    bytes: &[u8],
) -> (&'static str, Told, Vec<u8>) {
    let mut parts = Parts::decode(bytes);
    let unrun = ran_no_code(&parts.header);
    let (what, told) = match rng.random_range(0..10) {
        9 if parts.recode(rng) => ("a commit of another code", Told::Successor),
        0 if !unrun => {
            parts.header.fuel = parts.header.fuel.wrapping_add(1);
            ("a commit of another fuel", Told::Replay)
        }
        1 => {
            parts.header.instrumentation ^= 1 << rng.random_range(0..32);
            ("a commit of another instrumentation", Told::Replay)
        }
        2 if !unrun => {
            parts.effects.result.push(0);
            ("a commit of another result", Told::Replay)
        }
        3 if !unrun => {
            let output = Output { name: "put".to_string(), payload: vec![9] };
            parts.effects.outputs.push(output);
            ("a commit of one more output", Told::Replay)
        }
        4 if !unrun => {
            parts.header.memory_bytes += PAGE_BYTES as u64;
            ("a commit whose memory grew by itself", Told::Replay)
        }
        5 if !unrun && parts.header.kind != Kind::Create => {
            let mut page = *before.image.page(STATE_PAGE);
            page[rng.random_range(64..PAGE_BYTES)] ^= 1;
            parts.pages.retain(|(index, _)| *index != STATE_PAGE);
            parts.pages.push((STATE_PAGE, Arc::new(page)));
            parts.pages.sort_by_key(|(index, _)| *index);
            ("a commit of another memory", Told::Replay)
        }
        6 if !unrun && parts.header.kind != Kind::Create => {
            let mut state = State::default();
            for _ in 0..4 {
                state = state.near(rng, parts.header.time.as_millis());
            }
            parts.pages = vec![(STATE_PAGE, Arc::new(state.page()))];
            // The drawn state may happen to be the state that the code made.
            ("a commit of another state", Told::Successor)
        }
        _ => {
            parts.input.time = parts.input.time.saturating_add(Duration::from_millis(1));
            parts.header.time = parts.header.time.saturating_add(Duration::from_millis(1));
            ("a commit of another time", Told::Successor)
        }
    };
    parts.rehash(before);
    (what, told, parts.encode())
}

/// Returns whether a version was made without the object's code.
fn ran_no_code(header: &Header) -> bool {
    matches!(header.kind, Kind::Write | Kind::Amend | Kind::OpenSession | Kind::Delete)
}

/// Puts a refusal where it does not follow.
fn displace(rng: &mut StdRng, refusal: &mut Refusal) -> &'static str {
    match rng.random_range(0..4) {
        0 => {
            refusal.seq += 1;
            "a refusal of another version"
        }
        1 => {
            refusal.object = ObjectId(rng.random());
            "a refusal by another object"
        }
        2 => {
            refusal.parent = VersionHash(rng.random());
            "a refusal behind another version"
        }
        _ => {
            refusal.previous = match (refusal.previous, rng.random()) {
                (Some(_), true) => None,
                _ => Some(RefusalHash(rng.random())),
            };
            "a refusal behind another refusal"
        }
    }
}

/// A refusal that would follow, changed.
pub(crate) fn rerefuse(
    rng: &mut StdRng,
    before: &Before<'_>,
    bytes: &[u8],
) -> (&'static str, Told, Vec<u8>) {
    let mut refusal = Refusal::decode(bytes).expect("it was encoded");
    let is_native = NATIVE_ALL.contains(&refusal.verdict.reason);
    let by_verdict = if is_native { Told::Anyone } else { Told::Replay };
    let (what, told) = match rng.random_range(0..12) {
        0..4 => (displace(rng, &mut refusal), Told::Anyone),
        4 => {
            let others = NATIVE.iter().filter(|&&reason| reason != refusal.verdict.reason);
            let others: Vec<_> = others.collect();
            refusal.verdict.reason = *others[rng.random_range(0..others.len())];
            ("a refusal for a reason that there was not", Told::Anyone)
        }
        5 => {
            let other = refusal.verdict.reason == Reason::Forbidden;
            refusal.verdict.reason = if other { Reason::Trap } else { Reason::Forbidden };
            ("a refusal for another reason", by_verdict)
        }
        6 => {
            refusal.verdict.rules.push("zeal".to_string());
            ("a refusal by one more rule", by_verdict)
        }
        7 => {
            refusal.verdict.detail.push('!');
            ("a refusal of another detail", by_verdict)
        }
        8 => {
            bytes::mutate(rng, &mut refusal.input);
            ("a refusal of another input", Told::Successor)
        }
        9 => {
            refusal.input.push(0);
            return (
                "a refusal of an input that it does not cover",
                Told::Anyone,
                refusal.encode(),
            );
        }
        10 => {
            let salt = before.secret.refusal_salt(before.refusal_count + 1);
            refusal.refused = Refusal::refused_hash(salt, &refusal.verdict.detail, &refusal.input);
            return ("a refusal with the salt of the next", Told::Anyone, refusal.encode());
        }
        _ => {
            let mut bytes = bytes.to_vec();
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
            return ("a refusal with a bit that was turned", Told::Successor, bytes);
        }
    };
    let salt = before.secret.refusal_salt(before.refusal_count);
    refusal.refused = Refusal::refused_hash(salt, &refusal.verdict.detail, &refusal.input);
    (what, told, refusal.encode())
}

/// Turns any bit except those that only a replay can check.
fn turned(rng: &mut StdRng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    loop {
        // Most bytes are of pages.
        let end = if rng.random_bool(0.8) { bytes.len().min(900) } else { bytes.len() };
        let at = rng.random_range(0..end);
        if !INSTRUMENTATION.contains(&at) && !FUEL.contains(&at) {
            bytes[at] ^= 1 << rng.random_range(0..8);
            return bytes;
        }
    }
}

/// Reasons that any verifier can tell by itself.
const NATIVE_ALL: [Reason; 11] = [
    Reason::Credential,
    Reason::Expired,
    Reason::ExpiresTooLate,
    Reason::Replayed,
    Reason::Reordered,
    Reason::NoncesFull,
    Reason::WrongParent,
    Reason::NotDue,
    Reason::NoSession,
    Reason::SessionOpen,
    Reason::SessionsFull,
];
/// Some of them.
pub(crate) const NATIVE: [Reason; 6] = [
    Reason::Expired,
    Reason::Replayed,
    Reason::Credential,
    Reason::NotDue,
    Reason::NoSession,
    Reason::SessionOpen,
];

/// The parties that can notice a changed record, when everything that names it was hashed anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// Every verifier.
    Anyone,
    /// Verifiers that run the code again. Others rely on the word of the host that ran it.
    Replay,
    /// Nobody, from the record: the host alone states such a time, or such an input without a
    /// signature. The record after it no longer follows.
    Successor,
}

/// The object before the forged version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) image: &'a Image,
    pub(crate) time: u64,
    /// The object's secret, from the forged version on.
    pub(crate) secret: &'a Secret,
    pub(crate) refusal_count: u64,
}

struct Parts {
    header: Header,
    input: Input,
    effects: Effects,
    admission: Admission,
    pages: Vec<(u32, Arc<Page>)>,
}

impl Parts {
    fn decode(bytes: &[u8]) -> Parts {
        let decoded = "a commit that was encoded decodes";
        let commit = Commit::decode(bytes).expect(decoded);
        Parts {
            input: Input::decode(commit.input).expect(decoded),
            effects: Effects::decode(commit.effects).expect(decoded),
            admission: Admission::decode(commit.admission).expect(decoded),
            pages: commit.pages.iter().map(|(index, page)| (*index, Arc::new(**page))).collect(),
            header: commit.header,
        }
    }

    /// Makes the header name the payloads, as a party does that knows the secret.
    fn resalt(&mut self, before: &Before<'_>) {
        let salts = before.secret.version_salts();
        self.header.input = self.input.hash(salts.input);
        self.header.effects = self.effects.hash(salts.effects);
        self.header.admission = self.admission.hash(salts.admission);
    }

    /// Makes the header name the claimed outcome of the step.
    fn rehash(&mut self, before: &Before<'_>) {
        self.resalt(before);
        self.header.page_count = self.pages.len() as u32;
        if let Ok(after) = before.image.step(self.header.memory_bytes, self.pages.clone()) {
            self.header.memory_root = Tree::of(&after).root();
        }
    }

    fn encode(&self) -> Vec<u8> {
        let commit = Commit {
            header: self.header.clone(),
            input: &self.input.encode(),
            effects: &self.effects.encode(),
            admission: &self.admission.encode(),
            globals: None,
            pages: self.pages.iter().map(|(index, page)| (*index, &**page)).collect(),
        };
        let mut bytes = Vec::new();
        commit.encode_into(&mut bytes);
        bytes
    }

    /// Changes one field of the header.
    fn forge_header(&mut self, rng: &mut StdRng) -> &'static str {
        let (before, header, other) = (self.header.clone(), &mut self.header, rng.random());
        match rng.random_range(0..21) {
            0 => header.seq += 1,
            1 => header.time = header.time.saturating_add(Duration::from_millis(1)),
            2 => {
                header.wake = header.wake.map_or(Some(Time::from_millis(9)), |wake| {
                    wake.checked_add(Duration::from_millis(1))
                })
            }
            3 => header.memory_bytes += PAGE_BYTES as u64,
            4 => header.refusal_count += 1,
            5 => header.page_count += 1,
            6 => header.object = Some(ObjectId(other)),
            7 => header.parent = Some(VersionHash(other)),
            8 => header.jump = Some(VersionHash(other)),
            9 => header.memory_root = MemoryRoot(other),
            10 => header.globals = GlobalsHash(other),
            11 => header.code = CodeHash(other),
            12 => header.schema = SchemaHash(other),
            13 => header.policy = PolicyHash(other),
            14 => header.input = InputHash(other),
            15 => header.effects = EffectsHash(other),
            16 => header.admission = AdmissionHash(other),
            17 => header.ledger = LedgerHash(other),
            18 => header.refusals = header.refusals.xor(Some(RefusalHash(other))),
            19 => {
                let kinds = [Kind::Call, Kind::Cycle, Kind::Write];
                let others = kinds.into_iter().filter(|&kind| kind != header.kind);
                header.kind = others.collect::<Vec<_>>()[rng.random_range(0..2)];
            }
            _ => {
                (header.parent, header.jump) = (Some(VersionHash(other)), Some(VersionHash(other)))
            }
        }
        // Nobody can write a header whose hashes are not those that its numbers say.
        let chained = [header.object.is_some(), header.parent.is_some(), header.jump.is_some()];
        if chained != [header.seq > 0; 3] || header.refusals.is_some() != (header.refusal_count > 0)
        {
            *header = Header { memory_root: MemoryRoot(other), ..before };
        }
        "a commit with another header"
    }

    /// Changes who asked or what let it in, and hashes what names it.
    fn forge_admission(&mut self, rng: &mut StdRng, before: &Before<'_>) -> &'static str {
        let what = match rng.random_range(0..7) {
            0 if !self.admission.signers.is_empty() => {
                self.admission.signers.pop();
                "a commit without one of its signers"
            }
            0 | 1 => {
                self.admission.signers.push(PublicKey(rng.random()));
                "a commit with a signer who did not sign"
            }
            2 => {
                self.admission.rules.clear();
                "a commit without the rules that permit it"
            }
            3 => {
                self.admission.rules.push("zeal".to_string());
                "a commit with a rule that is none"
            }
            4 if self.input.credential.is_some() => {
                self.input.credential = None;
                "a commit without its credential"
            }
            5 if before.time > 0 => {
                self.input.time = Time::from_millis(before.time - 1);
                self.header.time = self.input.time;
                "a commit from before its parent"
            }
            _ => {
                self.input.request = Request::Create { salt: [0; 32], arguments: Vec::new() };
                "a commit that creates"
            }
        };
        self.resalt(before);
        what
    }

    /// Changes the code of an input in a session, which nobody but the host can verify.
    fn recode(&mut self, rng: &mut StdRng) -> bool {
        match self.input.credential.as_mut().map(|it| &mut it.proof) {
            Some(Proof::Session { mac, .. }) => {
                mac[rng.random_range(0..32)] ^= 1 << rng.random_range(0..8);
                true
            }
            _ => false,
        }
    }

    /// Changes the outcome of a step without code, and hashes what names it.
    fn forge_unrun(&mut self, rng: &mut StdRng, before: &Before<'_>) -> &'static str {
        let what = match rng.random_range(0..6) {
            0 if self.header.kind == Kind::Delete => {
                self.effects.wake = WakeChange::Keep;
                "a deletion that leaves the wake alone"
            }
            0 => {
                self.effects.wake =
                    WakeChange::Set(self.header.time.saturating_add(Duration::from_millis(5)));
                self.header.wake = Some(self.header.time.saturating_add(Duration::from_millis(5)));
                "a step without code that sets a wake"
            }
            1 => {
                let output = Output { name: "put".to_string(), payload: Vec::new() };
                self.effects.outputs.push(output);
                "a step without code that puts something out"
            }
            2 => {
                self.header.fuel = 1;
                "a step without code that used fuel"
            }
            3 => {
                self.header.memory_bytes += PAGE_BYTES as u64;
                "a step without code that grew the memory"
            }
            4 => {
                self.header.globals = globals_hash(&[1]);
                "a step without code that set globals"
            }
            _ => {
                if let Request::Write { fields } = &self.input.request {
                    let Definition { schema, code, .. } = before.definition;
                    let pages = write::apply(schema, code.state_address, before.image, fields);
                    self.pages = pages.expect("the write was admitted");
                }
                let mut page = self.pages.first().map_or([0; PAGE_BYTES], |(_, page)| **page);
                // Behind the state, where no rule sees it.
                page[rng.random_range(40..PAGE_BYTES)] ^= 1;
                self.pages = vec![(1, Arc::new(page))];
                "a step without code that left something else"
            }
        };
        self.rehash(before);
        what
    }
}
