//! Lineages that were never run: objects whose steps are invented, and correctly chained. A store
//! runs no code, so it cannot notice.
//!
//! The memory roots are invented as well. This module does not know the store, nor what it should
//! have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object::commit::Commit;
use object::credential::{Credential, Proof, PublicKey, Signature};
use object::effects::{Admission, Effects, WakeChange, encode_globals, globals_hash};
use object::hash::{BaseHash, CodeHash, MemoryRoot, PolicyHash, SchemaHash, SessionId};
use object::head::{Head, Outcome, Parts, genesis};
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::ledger::{DAY, Ledger, Tracked};
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page, page_count};
use object::refusal::{Reason, Refusal, Verdict};
use object::secret::Secret;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{Blob, Change, NewCommit};

use crate::generate::header;

/// 2013-01-01T00:00:00Z, in milliseconds since 1970.
pub(crate) const START: u64 = 1_356_998_400_000;
/// Each starts from the base image of the same place.
const CODES: [&[u8]; 3] = [b"one code", b"another code, which is longer", b"a third"];
const POLICIES: [&[u8]; 2] = [b"one policy", b"another policy"];

/// The codes, bases and policies that objects may have.
pub(crate) struct Ingredients {
    bases: Vec<Vec<u8>>,
    /// Pages that a memory does not grow beyond.
    pages_max: u32,
}

/// An object and the knowledge of the party that appends to it.
#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) head: Head,
    image: Image,
    pages_max: u32,
    globals: Vec<u64>,
    nonce: u64,
    /// The keys that sign.
    keys: u8,
    /// A session that was opened, by these keys, until then.
    session: Option<(SessionId, Vec<PublicKey>, Time)>,
}

/// A record that an author appends.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    /// A version.
    Version {
        /// The commit.
        bytes: Vec<u8>,
        /// The ledger, when it changed.
        ledger: Option<Arc<Ledger>>,
        /// The base image, in a genesis or an upgrade.
        base: Option<BaseHash>,
        /// The object's secret, in a genesis.
        secret: Option<Secret>,
        /// The memory before.
        before: Image,
    },
    /// A refusal.
    Refusal(Refusal),
}

/// A commit's bytes.
pub(crate) fn encoded(commit: &Commit<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    commit.encode_into(&mut bytes);
    bytes
}

impl Made {
    /// The change to append.
    pub(crate) fn change(&self) -> Change<'_> {
        match self {
            Made::Version { bytes, ledger, base, secret, before } => {
                let commit = Commit::decode(bytes).expect("it was encoded");
                let (ledger, before) = (ledger.as_ref(), Some(before));
                let (hash, base, secret) = (commit.header.hash(), *base, secret.as_ref());
                Change::Commit(NewCommit { commit, hash, base, secret, ledger, before })
            }
            Made::Refusal(refusal) => Change::Refusal(refusal),
        }
    }
}

impl Ingredients {
    pub(crate) fn new(rng: &mut StdRng) -> Ingredients {
        let base = |filled: usize| {
            let mut memory = vec![0; rng.random_range(filled..4) * PAGE_BYTES];
            for page in memory.chunks_mut(PAGE_BYTES).take(filled) {
                page.fill(rng.random());
            }
            let globals = (0..filled as u64).collect();
            BaseImage::new(&memory, globals).expect("the image is within the limits").encode()
        };
        Ingredients { bases: (0..CODES.len()).map(base).collect(), pages_max: u32::MAX }
    }

    /// Returns ingredients for objects whose memories stay small.
    pub(crate) fn small(rng: &mut StdRng) -> Ingredients {
        Ingredients { pages_max: 5, ..Ingredients::new(rng) }
    }

    /// Draws the parts of an object, and the base image of its memory.
    fn draw(&self, rng: &mut StdRng) -> (Parts, BaseHash, Image) {
        let index = rng.random_range(0..CODES.len());
        let base = BaseImage::decode(&self.bases[index]).expect("it was encoded");
        let parts = Parts {
            code: CodeHash::of(CODES[index]),
            schema: SchemaHash::of(b"schema"),
            policy: PolicyHash::of(POLICIES[rng.random_range(0..2)]),
        };
        (parts, BaseHash::of(&self.bases[index]), Image::new(Arc::new(base)))
    }

    /// Every blob that an object may need.
    pub(crate) fn blobs(&self) -> Vec<Blob<'_>> {
        let codes = CODES.iter().map(|bytes| Blob::Code(bytes));
        let policies = POLICIES.iter().map(|bytes| Blob::Policy(bytes));
        let bases = self.bases.iter().map(|bytes| Blob::Base(bytes));
        codes.chain(policies).chain(bases).collect()
    }
}

impl Author {
    /// A new object and its genesis.
    pub(crate) fn begin(rng: &mut StdRng, parts: &Ingredients) -> (Author, Made) {
        let pages_max = parts.pages_max;
        let (parts, hash, before) = parts.draw(rng);
        let base = Arc::clone(before.base());
        let drawn = rng.random();
        let salt = Secret::image_salt(&drawn);
        let request = Request::Create { salt, arguments: header::blob(rng) };
        let input = Input {
            request,
            time: Time::from_millis(START + rng.random_range(0..5000)),
            credential: None,
        };
        let mut step = Step::new(rng, &before, pages_max, base.globals());
        step.effects.wake = wake(rng, START);
        let secret = Secret::new(drawn);
        let head = Head::new(genesis(&input, &step.outcome(parts), &secret), secret.clone());
        let globals = (step.globals != base.globals()).then(|| encode_globals(&step.globals));
        let bytes = step.encode(&head, &input, &Admission::default(), globals.as_deref());
        let (image, globals) = (step.image, step.globals);
        // The ledger is small, or written as its changes.
        let keys = [3, 100][rng.random_range(0..2)];
        let author = Author { head, image, pages_max, globals, nonce: 0, keys, session: None };
        let (ledger, base, secret) = (None, Some(hash), Some(secret));
        (author, Made::Version { bytes, ledger, base, secret, before })
    }

    /// The next version, an upgrade: its memory begins from a base image.
    pub(crate) fn upgrade(&mut self, rng: &mut StdRng, parts: &Ingredients) -> Made {
        let (parts, base, before) = parts.draw(rng);
        let request = Request::Upgrade { code: parts.code, policy: parts.policy };
        let input = Input { request, time: self.head.header.time, credential: None };
        let step = Step::new(rng, &before, self.pages_max, before.base().globals());
        let admission = Admission { migrated: vec!["new".to_string()], ..Admission::default() };
        let (header, ledger) = self.head.successor(&input, &step.outcome(parts), &admission);
        let new_ledger = (header.ledger != self.head.header.ledger).then(|| Arc::clone(&ledger));
        self.head.advance(header, ledger);
        let is_new = step.globals != before.base().globals();
        let globals = is_new.then(|| encode_globals(&step.globals));
        let bytes = step.encode(&self.head, &input, &admission, globals.as_deref());
        (self.image, self.globals) = (step.image, step.globals);
        let (ledger, base, secret) = (new_ledger, Some(base), None);
        Made::Version { bytes, ledger, base, secret, before }
    }

    /// The next version.
    pub(crate) fn version(&mut self, rng: &mut StdRng) -> Made {
        let span = match rng.random_range(0..30) {
            0 => rng.random_range(1..30) * DAY,
            which => Duration::from_millis([0, 0, 1, 1000][which % 4]),
        };
        let time = self.head.header.time.saturating_add(span);
        let request = match rng.random_range(0..3) {
            0 => Request::Cycle,
            1 => Request::Write { fields: vec![("count".to_string(), header::blob(rng))] },
            _ => Request::Call { method: "go".to_string(), arguments: header::blob(rng) },
        };
        let mut input = Input { request, time, credential: None };
        let share = if self.keys > 3 { 0.8 } else { 0.3 };
        let signers = match rng.random_bool(share) {
            true => self.sign(rng, &mut input),
            false => Vec::new(),
        };
        let admission = Admission { signers, ..Admission::default() };
        let mut step = Step::new(rng, &self.image, self.pages_max, &self.globals);
        step.effects.wake = wake(rng, time.as_millis());
        let (header, ledger) =
            self.head.successor(&input, &step.outcome(parts(&self.head)), &admission);
        let new_ledger = (header.ledger != self.head.header.ledger).then(|| Arc::clone(&ledger));
        self.head.advance(header, ledger);
        let globals = (step.globals != self.globals).then(|| encode_globals(&step.globals));
        let bytes = step.encode(&self.head, &input, &admission, globals.as_deref());
        self.globals = step.globals;
        let before = std::mem::replace(&mut self.image, step.image);
        let (ledger, base, secret) = (new_ledger, None, None);
        Made::Version { bytes, ledger, base, secret, before }
    }

    /// The last version, a deletion.
    pub(crate) fn delete(&mut self, rng: &mut StdRng) -> Made {
        let input =
            Input { request: Request::Delete, time: self.head.header.time, credential: None };
        let step = Step {
            effects: Effects::without_code(&input.request),
            page_count: page_count(self.image.bytes_count()),
            globals: self.globals.clone(),
            changed: Vec::new(),
            image: self.image.clone(),
            root: MemoryRoot(rng.random()),
        };
        let admission = Admission::default();
        let (header, ledger) =
            self.head.successor(&input, &step.outcome(parts(&self.head)), &admission);
        let new_ledger = (header.ledger != self.head.header.ledger).then(|| Arc::clone(&ledger));
        self.head.advance(header, ledger);
        let bytes = step.encode(&self.head, &input, &admission, None);
        let (ledger, base, secret, before) = (new_ledger, None, None, self.image.clone());
        Made::Version { bytes, ledger, base, secret, before }
    }

    /// Has some keys sign an input, or puts it in the session that is open; returns the signers.
    /// Now and then the input opens one.
    fn sign(&mut self, rng: &mut StdRng, input: &mut Input) -> Vec<PublicKey> {
        self.nonce += 1;
        let mut credential = Credential::new(self.nonce, input.time);
        if let Some((session, keys, _)) = self.session.clone().filter(|it| it.2 >= input.time)
            && input.request != Request::Cycle
            && rng.random_bool(0.2)
        {
            credential.proof = Proof::Session { session, mac: [0; 32] };
            input.credential = Some(credential);
            return keys;
        }
        let count = if self.keys > 3 && rng.random_bool(0.2) { 30 } else { 1 };
        let keys: BTreeSet<u8> = (0..count).map(|_| rng.random_range(0..self.keys)).collect();
        let signature = |key: &u8| Signature { key: [*key; 32], bytes: [0; 64] };
        credential.proof = Proof::Signatures(keys.iter().map(signature).collect());
        input.credential = Some(credential);
        let keys: Vec<PublicKey> = keys.into_iter().map(|key| PublicKey([key; 32])).collect();
        if rng.random_bool(0.1) {
            let (session, span) = (SessionId(rng.random()), [0, 3000][rng.random_range(0..2)]);
            let expires = input.time.saturating_add(Duration::from_millis(span));
            input.request = Request::OpenSession { session, expires };
            self.session = Some((session, keys.clone(), expires));
        }
        keys
    }

    /// A refusal behind the newest version.
    pub(crate) fn refusal(&mut self, rng: &mut StdRng) -> Made {
        let request = Request::Call { method: "no".to_string(), arguments: header::blob(rng) };
        let input = Input { request, time: self.head.header.time, credential: None };
        let verdict = Verdict::native(Reason::Trap, header::name(rng));
        let refusal = self.head.refusal(&input, verdict);
        self.head.record(&refusal);
        Made::Refusal(refusal)
    }
}

/// The outcome of a step that was never run.
struct Step {
    effects: Effects,
    page_count: u32,
    globals: Vec<u64>,
    changed: Vec<(u32, Arc<Page>)>,
    /// The memory after it.
    image: Image,
    root: MemoryRoot,
}

impl Step {
    fn new(rng: &mut StdRng, memory: &Image, pages_max: u32, globals: &[u64]) -> Step {
        let before = page_count(memory.bytes_count());
        let grown = if rng.random_bool(0.1) { rng.random_range(0..40) } else { 0 };
        let page_count = (before + grown).min(pages_max).max(before);
        let share = [0.0, 0.05, 0.3, 1.0][rng.random_range(0..4)];
        let dirty = (0..page_count).filter(|_| rng.random_bool(share)).collect::<Vec<u32>>();
        let changed = dirty.into_iter().map(|index| {
            // Many bytes of the page, or a few.
            let mut page = match rng.random_bool(0.4) {
                true => [rng.random(); PAGE_BYTES],
                false => *memory.page(index),
            };
            for _ in 0..rng.random_range(1..4) {
                let start = rng.random_range(0..PAGE_BYTES);
                let end = (start + rng.random_range(1..16)).min(PAGE_BYTES);
                page[start..end].fill(rng.random());
            }
            (index, Arc::new(page))
        });
        let changed: Vec<(u32, Arc<Page>)> = changed.take(12).collect();
        let bytes = u64::from(page_count) * PAGE_BYTES as u64;
        let image = memory.step(bytes, changed.clone()).expect("the pages are in the memory");
        let mut globals = globals.to_vec();
        if rng.random_bool(0.2) {
            globals.iter_mut().for_each(|bits| *bits = rng.random_range(0..4));
        }
        let (effects, root) = (header::effects(rng), MemoryRoot(rng.random()));
        Step { effects, page_count, globals, changed, image, root }
    }

    fn outcome(&self, parts: Parts) -> Outcome<'_> {
        Outcome {
            effects: &self.effects,
            instrumentation: 2,
            fuel: 7,
            memory_bytes: u64::from(self.page_count) * PAGE_BYTES as u64,
            memory_root: self.root,
            page_count: self.changed.len() as u32,
            globals: globals_hash(&self.globals),
            parts,
            tracked: Tracked::NONE,
        }
    }

    fn encode(
        &self,
        head: &Head,
        input: &Input,
        admission: &Admission,
        globals: Option<&[u8]>,
    ) -> Vec<u8> {
        let commit = Commit {
            header: (*head.header).clone(),
            input: &input.encode(),
            effects: &self.effects.encode(),
            admission: &admission.encode(),
            globals,
            pages: self.changed.iter().map(|(index, page)| (*index, &**page)).collect(),
        };
        let mut bytes = Vec::new();
        commit.encode_into(&mut bytes);
        bytes
    }
}

/// Returns the object's parts.
fn parts(head: &Head) -> Parts {
    let header = &head.header;
    Parts { code: header.code, schema: header.schema, policy: header.policy }
}

fn wake(rng: &mut StdRng, time: u64) -> WakeChange {
    match rng.random_range(0..4) {
        0 => WakeChange::Set(Time::from_millis(time + rng.random_range(0..10_000))),
        1 => WakeChange::Clear,
        _ => WakeChange::Keep,
    }
}
