//! The head of a lineage: all that making or verifying an object's next version needs to know.

use std::sync::Arc;

use crate::effects::{Admission, Effects};
use crate::error::{Error, Result};
use crate::hash::{
    AdmissionHash, CodeHash, EffectsHash, GlobalsHash, InputHash, MemoryRoot, ObjectId, PolicyHash,
    RefusalHash, SchemaHash, VersionHash,
};
use crate::header::{Header, Kind};
use crate::input::{Input, Request};
use crate::ledger::{Ledger, Tracked};
use crate::lineage::Spine;
use crate::refusal::{Refusal, Verdict};
use crate::secret::Secret;
use crate::time::Time;

/// The newest version of an object, and all that making the next one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The object.
    pub id: ObjectId,
    /// The newest version's header, which others may hold too.
    pub header: Arc<Header>,
    /// The header's hash.
    pub hash: VersionHash,
    /// The time of the genesis.
    pub created: Time,
    /// The ledger of the lineage.
    ///
    /// Invariant: it is the one that the header names, unless only headers were read.
    pub ledger: Arc<Ledger>,
    /// The last refusal on record, if there is one.
    pub refusals: Option<RefusalHash>,
    /// The number of refusals on record.
    pub refusal_count: u64,
    /// The hashes that jumps of later versions name.
    pub spine: Spine<VersionHash>,
    /// The object's secret, from the next version on; none if only headers were read.
    pub secret: Option<Secret>,
}

/// The outcome of a step, as far as the header records it.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// The step's result and all that it sends out.
    pub effects: &'a Effects,
    /// The version of the instrumentation that it ran under.
    pub instrumentation: u32,
    /// The fuel that it used.
    pub fuel: u64,
    /// The memory's length after it, in bytes.
    pub memory_bytes: u64,
    /// The memory's root after it.
    pub memory_root: MemoryRoot,
    /// The number of pages that the step changed.
    pub page_count: u32,
    /// The globals after it.
    pub globals: GlobalsHash,
    /// The object's parts after the step.
    pub parts: Parts,
    /// The part of the past that the policy reads from this version on.
    pub tracked: &'a Tracked,
}

/// The encoded payloads of a version: its header names them by hash, the log holds them beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPayloads {
    /// The input.
    pub input: Vec<u8>,
    /// The effects.
    pub effects: Vec<u8>,
    /// The decision.
    pub admission: Vec<u8>,
}

impl EncodedPayloads {
    /// Encodes them.
    pub fn encode(input: &Input, effects: &Effects, admission: &Admission) -> EncodedPayloads {
        Self { input: input.encode(), effects: effects.encode(), admission: admission.encode() }
    }
}

/// The parts of an object besides its memory.
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
/// When `input` is neither a creation nor a fork, or `secret` is not one from its beginning on.
pub fn genesis(input: &Input, outcome: &Outcome<'_>, secret: &Secret) -> Header {
    let kind = input.request.kind();
    assert!(kind.is_genesis(), "a lineage starts with a creation or a fork");
    assert_eq!(secret.from(), 0, "an object begins with the secret that it draws");
    let salts = secret.version_salts();
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
        object: None,
        parent: None,
        jump: None,
        memory_root: outcome.memory_root,
        globals: outcome.globals,
        code: outcome.parts.code,
        schema: outcome.parts.schema,
        policy: outcome.parts.policy,
        input: input.hash(salts.input),
        effects: outcome.effects.hash(salts.effects),
        admission: Admission::default().hash(salts.admission),
        ledger: Ledger::default().hash(),
        refusals: None,
    }
}

impl Head {
    /// The head of an object that has only its genesis, and this secret.
    ///
    /// # Panics
    ///
    /// When `header` is not a genesis, or `secret` is not one from its beginning on.
    pub fn new(header: impl Into<Arc<Header>>, mut secret: Secret) -> Head {
        assert_eq!(secret.from(), 0, "an object begins with the secret that it draws");
        secret.advance();
        Head { secret: Some(secret), ..Head::of_header(header) }
    }

    /// Returns the head of an object of whose genesis only the header was read.
    pub(crate) fn of_header(header: impl Into<Arc<Header>>) -> Head {
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
            refusals: None,
            refusal_count: 0,
            spine,
            secret: None,
            header,
        }
    }

    /// The header of the version that `input`, `outcome` and `admission` make of this one, and the
    /// ledger after it.
    ///
    /// # Panics
    ///
    /// When the head has no secret.
    pub fn successor(
        &self,
        input: &Input,
        outcome: &Outcome<'_>,
        admission: &Admission,
    ) -> (Header, Arc<Ledger>) {
        let payloads = EncodedPayloads::encode(input, outcome.effects, admission);
        self.successor_with(input, outcome, admission, &payloads)
    }

    /// Returns the [`successor`](Head::successor) whose encoded payloads are `payloads`.
    ///
    /// # Panics
    ///
    /// When the head has no secret, or the object was deleted.
    pub fn successor_with(
        &self,
        input: &Input,
        outcome: &Outcome<'_>,
        admission: &Admission,
        payloads: &EncodedPayloads,
    ) -> (Header, Arc<Ledger>) {
        assert_eq!(self.deleted(), None, "nothing follows a deletion");
        let seq = self.header.seq + 1;
        let ledger = self.ledger.next(outcome.tracked, seq, input, &admission.signers);
        let ledger_hash = match Arc::ptr_eq(&ledger, &self.ledger) {
            true => self.header.ledger,
            false => ledger.hash(),
        };
        debug_assert_eq!(ledger_hash, ledger.hash(), "a head has the ledger that it names");
        let salts = self.next_secret().version_salts();
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
            object: Some(self.id),
            parent: Some(self.hash),
            jump: Some(self.next_jump()),
            memory_root: outcome.memory_root,
            globals: outcome.globals,
            input: InputHash::of(salts.input, &payloads.input),
            effects: EffectsHash::of(salts.effects, &payloads.effects),
            admission: AdmissionHash::of(salts.admission, &payloads.admission),
            ledger: ledger_hash,
            refusals: self.refusals,
            code: outcome.parts.code,
            schema: outcome.parts.schema,
            policy: outcome.parts.policy,
        };
        (header, ledger)
    }

    /// Returns when the object was deleted, if it was: no version and no refusal follows then.
    pub fn deleted(&self) -> Option<Time> {
        (self.header.kind == Kind::Delete).then_some(self.header.time)
    }

    /// Checks that a version or a refusal may follow.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch) when the object was deleted.
    pub fn require_living(&self) -> Result<()> {
        match self.deleted() {
            Some(_) => {
                let (expected, found) = ("nothing behind a deletion", "a version or a refusal");
                Err(Error::mismatch("lineage", self.header.seq + 1, expected, found))
            }
            None => Ok(()),
        }
    }

    /// Returns the hash of the version that the next version's jump names.
    pub(crate) fn next_jump(&self) -> VersionHash {
        self.spine.next_jump().expect("a head has a spine")
    }

    /// The secret that the salts of the next version and of refusals of it derive from.
    fn next_secret(&self) -> &Secret {
        let secret = self.secret.as_ref().expect("a head that goes on has the object's secret");
        assert_eq!(secret.from(), self.header.seq + 1, "a head has its secret from there on");
        secret
    }

    /// The next wake as a step finds it: a wake that runs is spent.
    pub fn wake_during(&self, request: &Request) -> Option<Time> {
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
        assert_eq!(header.parent, Some(self.hash), "a version follows the head");
        assert_eq!(header.seq, self.header.seq + 1, "a version follows the head");
        debug_assert_eq!(hash, header.hash(), "a version has the hash of its header");
        self.hash = hash;
        self.spine.push(self.hash);
        self.header = header;
        self.ledger = ledger;
        if let Some(secret) = &mut self.secret {
            secret.advance();
        }
    }

    /// The refusal that follows those on record.
    ///
    /// # Panics
    ///
    /// When the head has no secret, or the object was deleted.
    pub fn refusal(&self, input: &Input, verdict: Verdict) -> Refusal {
        assert_eq!(self.deleted(), None, "nothing follows a deletion");
        let salt = self.next_secret().refusal_salt(self.refusal_count);
        let input = input.encode();
        Refusal {
            object: self.id,
            seq: self.header.seq + 1,
            parent: self.hash,
            previous: self.refusals,
            refused: Refusal::refused_hash(salt, &verdict.detail, &input),
            input,
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
        debug_assert_eq!(refusal.object, self.id, "a refusal is of the object");
        debug_assert_eq!(
            refusal.seq,
            self.header.seq + 1,
            "a refusal names the version it was for"
        );
        self.refusals = Some(refusal.hash());
        self.refusal_count += 1;
    }
}
