//! The head of a lineage: what must be known of an object to make or verify its next version.
//!
//! The engine advances it for each commit and a verifier for each record, by the same functions,
//! so a header that the one writes is the header that the other expects. It does not know the
//! memory's pages.

use std::sync::Arc;

use crate::effects::{Admission, Effects};
use crate::hash::{
    AdmissionHash, CodeHash, EffectsHash, GlobalsHash, InputHash, LedgerHash, MemoryRoot, ObjectId,
    PolicyHash, RefusalHash, SchemaHash, VersionHash,
};
use crate::header::Header;
use crate::input::{Input, Request};
use crate::ledger::{Ledger, Tracked};
use crate::lineage::Spine;
use crate::refusal::Refusal;

/// The newest version of an object and what its successor needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The object.
    pub id: ObjectId,
    /// The newest version's header, which others may hold too.
    pub header: Arc<Header>,
    /// Its hash.
    pub hash: VersionHash,
    /// The time of the genesis, in milliseconds since 1970-01-01 UTC.
    pub created: u64,
    /// What it remembers of the lineage.
    ///
    /// Invariant: it is the one that the header names, unless only headers were read.
    pub ledger: Arc<Ledger>,
    /// The last refusal on record.
    pub refusals: RefusalHash,
    /// How many refusals are on record.
    pub refusal_count: u64,
    /// The hashes that jumps of later versions name.
    pub spine: Spine<VersionHash>,
}

/// What a step did, as far as the header records it.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// What it gave back and sent out.
    pub effects: &'a Effects,
    /// The version of the instrumentation that it ran under.
    pub instrumentation: u32,
    /// The fuel that it used.
    pub fuel: u64,
    /// The memory's length after it, in bytes.
    pub memory_bytes: u64,
    /// The memory's root after it.
    pub memory_root: MemoryRoot,
    /// How many pages it changed.
    pub page_count: u32,
    /// The globals after it.
    pub globals: GlobalsHash,
    /// What the object is made of after it.
    pub parts: Parts,
    /// What its policy reads of the past from then on.
    pub tracked: &'a Tracked,
}

/// What a version's header names by its hash and the log has beside it, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payloads {
    /// The input.
    pub input: Vec<u8>,
    /// The effects.
    pub effects: Vec<u8>,
    /// The decision.
    pub admission: Vec<u8>,
}

impl Payloads {
    /// Encodes them.
    pub fn encode(input: &Input, effects: &Effects, admission: &Admission) -> Payloads {
        Payloads { input: input.encode(), effects: effects.encode(), admission: admission.encode() }
    }
}

/// What an object is made of besides its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The module.
    pub code: CodeHash,
    /// The WIT text in it.
    pub schema: SchemaHash,
    /// The policy.
    pub policy: PolicyHash,
}

/// The genesis header of an object.
///
/// # Panics
///
/// When `input` is neither a creation nor a fork.
pub fn genesis(input: &Input, outcome: &Outcome<'_>) -> Header {
    let kind = input.request.kind();
    assert!(kind.is_genesis(), "a lineage starts with a creation or a fork");
    Header {
        kind,
        instrumentation: outcome.instrumentation,
        seq: 0,
        time: input.time,
        wake: outcome.effects.wake.apply(None),
        fuel: outcome.fuel,
        memory_bytes: outcome.memory_bytes,
        refusal_count: 0,
        page_count: outcome.page_count,
        object: ObjectId::NONE,
        parent: VersionHash::NONE,
        jump: VersionHash::NONE,
        memory_root: outcome.memory_root,
        globals: outcome.globals,
        code: outcome.parts.code,
        schema: outcome.parts.schema,
        policy: outcome.parts.policy,
        input: input.hash(),
        effects: outcome.effects.hash(),
        admission: Admission::default().hash(),
        ledger: Ledger::default().hash(),
        refusals: RefusalHash::NONE,
    }
}

impl Head {
    /// The head of an object that has only its genesis.
    ///
    /// # Panics
    ///
    /// When `header` is not a genesis.
    pub fn new(header: impl Into<Arc<Header>>) -> Head {
        let header = header.into();
        assert!(header.kind.is_genesis(), "a lineage starts with a genesis");
        let hash = header.hash();
        let mut spine = Spine::new();
        spine.push(hash);
        Head {
            id: hash.into(),
            hash,
            created: header.time,
            ledger: Arc::default(),
            refusals: RefusalHash::NONE,
            refusal_count: 0,
            spine,
            header,
        }
    }

    /// The header of the version that `input`, `outcome` and `admission` make of this one, and the
    /// ledger after it.
    pub fn successor(
        &self,
        input: &Input,
        outcome: &Outcome<'_>,
        admission: &Admission,
    ) -> (Header, Arc<Ledger>) {
        let payloads = Payloads::encode(input, outcome.effects, admission);
        self.successor_with(input, outcome, admission, &payloads)
    }

    /// The [`successor`](Head::successor) of what `payloads` are the encodings of.
    pub fn successor_with(
        &self,
        input: &Input,
        outcome: &Outcome<'_>,
        admission: &Admission,
        payloads: &Payloads,
    ) -> (Header, Arc<Ledger>) {
        let seq = self.header.seq + 1;
        let ledger = self.ledger.next(outcome.tracked, seq, input, &admission.signers);
        self.followed_by((input, ledger), outcome, payloads)
    }

    /// The [`successor`](Head::successor) as it is on record with the ledger of this hash: see
    /// [`Ledger::next_on_record`].
    pub fn successor_on_record(
        &self,
        input: &Input,
        outcome: &Outcome<'_>,
        admission: &Admission,
        recorded: LedgerHash,
    ) -> (Header, Arc<Ledger>) {
        let payloads = Payloads::encode(input, outcome.effects, admission);
        let (seq, asked) = (self.header.seq + 1, (input, &admission.signers[..]));
        let ledger = self.ledger.next_on_record(outcome.tracked, seq, asked, recorded);
        self.followed_by((input, ledger), outcome, &payloads)
    }

    fn followed_by(
        &self,
        (input, ledger): (&Input, Arc<Ledger>),
        outcome: &Outcome<'_>,
        payloads: &Payloads,
    ) -> (Header, Arc<Ledger>) {
        let seq = self.header.seq + 1;
        let ledger_hash = match Arc::ptr_eq(&ledger, &self.ledger) {
            true => self.header.ledger,
            false => ledger.hash(),
        };
        debug_assert_eq!(ledger_hash, ledger.hash(), "a head has the ledger that it names");
        let header = Header {
            kind: input.request.kind(),
            instrumentation: outcome.instrumentation,
            seq,
            time: input.time,
            wake: outcome.effects.wake.apply(self.wake_during(&input.request)),
            fuel: outcome.fuel,
            memory_bytes: outcome.memory_bytes,
            refusal_count: self.refusal_count,
            page_count: outcome.page_count,
            object: self.id,
            parent: self.hash,
            jump: self.spine.next_jump().expect("a head has a spine"),
            memory_root: outcome.memory_root,
            globals: outcome.globals,
            input: InputHash::of(&payloads.input),
            effects: EffectsHash::of(&payloads.effects),
            admission: AdmissionHash::of(&payloads.admission),
            ledger: ledger_hash,
            refusals: self.refusals,
            code: outcome.parts.code,
            schema: outcome.parts.schema,
            policy: outcome.parts.policy,
        };
        (header, ledger)
    }

    /// The next wake as a step finds it: a wake that runs is spent.
    pub fn wake_during(&self, request: &Request) -> Option<u64> {
        match request {
            Request::Cycle => None,
            _ => self.header.wake,
        }
    }

    /// Takes `header` as the newest version.
    ///
    /// # Panics
    ///
    /// When it does not follow this head.
    pub fn advance(&mut self, header: impl Into<Arc<Header>>, ledger: Arc<Ledger>) {
        let header = header.into();
        let hash = header.hash();
        self.advance_to(hash, header, ledger);
    }

    /// Takes `header`, which has the hash `hash`, as the newest version.
    ///
    /// # Panics
    ///
    /// When it does not follow this head.
    pub fn advance_to(&mut self, hash: VersionHash, header: Arc<Header>, ledger: Arc<Ledger>) {
        assert_eq!(header.parent, self.hash, "a version follows the head");
        assert_eq!(header.seq, self.header.seq + 1, "a version follows the head");
        debug_assert_eq!(hash, header.hash(), "a version has the hash of its header");
        self.hash = hash;
        self.spine.push(self.hash);
        self.header = header;
        self.ledger = ledger;
    }

    /// The refusal that follows those on record.
    pub fn refusal(&self, input: &Input, verdict: crate::refusal::Verdict) -> Refusal {
        Refusal {
            object: self.id,
            seq: self.header.seq + 1,
            parent: self.hash,
            previous: self.refusals,
            input: input.encode(),
            verdict,
        }
    }

    /// Takes `refusal` on record.
    ///
    /// # Panics
    ///
    /// When it does not follow this head and its refusals.
    pub fn record(&mut self, refusal: &Refusal) {
        assert_eq!(refusal.parent, self.hash, "a refusal stands behind the head");
        assert_eq!(refusal.previous, self.refusals, "refusals are chained");
        self.refusals = refusal.hash();
        self.refusal_count += 1;
    }
}
