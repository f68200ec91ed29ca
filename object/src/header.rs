//! The version header: one admitted version of an object, in 480 bytes.
//!
//! A hand-laid little-endian layout, described in `FORMAT.md` (a test compares the two). It knows
//! payloads only by their hashes, so they can be redacted later with the chain intact.
//!
//! Invariant: `Header::decode` accepts exactly the bytes that `encode` writes.

use arrayvec::ArrayVec;

use crate::codec::{Reader, Write};
use crate::error::{Error, Result};
use crate::hash::{
    AdmissionHash, CodeHash, EffectsHash, GlobalsHash, InputHash, LedgerHash, MemoryRoot, ObjectId,
    PolicyHash, RefusalHash, SchemaHash, VersionHash,
};
use crate::limits::{MEMORY_BYTES_MAX, PAGE_BYTES, SEQ_MAX};
use crate::lineage::jump_seq;
use crate::time::Time;

/// Bytes of an encoded header.
pub const HEADER_BYTES: usize = 480;
/// The version of the layout.
pub const HEADER_VERSION: u16 = 1;
/// The stored form of "no next wake".
pub(crate) const NO_WAKE: Time = Time::MAX;

/// The kind of request that made a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The object came to be.
    Create,
    /// A method was called.
    Call,
    /// The object's own cycle ran.
    Cycle,
    /// State fields were written directly.
    Write,
    /// The policy was changed.
    Amend,
    /// A session was opened.
    OpenSession,
    /// A method was called by another object.
    Message,
    /// The object came to be of a version of another.
    Fork,
    /// The object took new code and a new policy.
    Upgrade,
}

impl Kind {
    /// Every kind, by its code.
    pub const ALL: &[Kind] = &[
        Kind::Create,
        Kind::Call,
        Kind::Cycle,
        Kind::Write,
        Kind::Amend,
        Kind::OpenSession,
        Kind::Message,
        Kind::Fork,
        Kind::Upgrade,
    ];

    /// The code that headers have.
    pub const fn code(self) -> u8 {
        match self {
            Kind::Create => 0,
            Kind::Call => 1,
            Kind::Cycle => 2,
            Kind::Write => 3,
            Kind::Amend => 4,
            Kind::OpenSession => 5,
            Kind::Message => 6,
            Kind::Fork => 7,
            Kind::Upgrade => 8,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.code() == code)
    }

    /// The name that people and JSON see.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Call => "call",
            Kind::Cycle => "advance",
            Kind::Write => "write",
            Kind::Amend => "amend",
            Kind::OpenSession => "open_session",
            Kind::Message => "message",
            Kind::Fork => "fork",
            Kind::Upgrade => "upgrade",
        }
    }

    /// Returns whether this kind makes an object's first version, and no other.
    pub fn is_genesis(self) -> bool {
        matches!(self, Kind::Create | Kind::Fork)
    }
}

const _: () = {
    let mut code = 0;
    while code < Kind::ALL.len() {
        assert!(Kind::ALL[code].code() as usize == code, "a kind is at its code's place");
        code += 1;
    }
};

/// The header of one version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The kind of request that made the version.
    pub kind: Kind,
    /// The version of the instrumentation that the step ran under.
    pub instrumentation: u32,
    /// The number of versions before this one.
    pub seq: u64,
    /// The time that the host states; never before the parent's time.
    pub time: Time,
    /// The time of the object's next own cycle.
    pub wake: Option<Time>,
    /// Fuel that the step used.
    pub fuel: u64,
    /// The memory's length in bytes.
    pub memory_bytes: u64,
    /// The number of refusals on record before this version.
    pub refusal_count: u64,
    /// The number of pages that the step changed.
    pub page_count: u32,
    /// The object's id; [`ObjectId::NONE`] in its genesis, whose hash is the id.
    pub object: ObjectId,
    /// The version before; [`VersionHash::NONE`] in the genesis.
    pub parent: VersionHash,
    /// The ancestor at [`jump_seq`]`(seq)`; [`VersionHash::NONE`] in the genesis.
    pub jump: VersionHash,
    /// The plain BLAKE3 hash of the memory.
    pub memory_root: MemoryRoot,
    /// The mutable globals.
    pub globals: GlobalsHash,
    /// The module, as its author gave it.
    pub code: CodeHash,
    /// The WIT text.
    pub schema: SchemaHash,
    /// The policy that admitted the *next* versions; the one before it admitted this.
    pub policy: PolicyHash,
    /// The hash of the input: the request and its credential.
    pub input: InputHash,
    /// The hash of the step's effects.
    pub effects: EffectsHash,
    /// The decision.
    pub admission: AdmissionHash,
    /// The hash of the head's ledger.
    pub ledger: LedgerHash,
    /// The last refusal on record before this version; [`RefusalHash::NONE`] when there is none.
    pub refusals: RefusalHash,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = ArrayVec::<u8, HEADER_BYTES>::new();
        bytes.put_u16(HEADER_VERSION).put_u8(self.kind.code()).put_u8(0);
        bytes.put_u32(self.instrumentation).put_u64(self.seq).put_time(self.time);
        bytes.put_time(self.wake.unwrap_or(NO_WAKE)).put_u64(self.fuel).put_u64(self.memory_bytes);
        bytes.put_u64(self.refusal_count).put_u32(self.page_count).put_u32(0);
        for hash in self.hashes() {
            bytes.put(hash);
        }
        bytes.into_inner().expect("the layout has HEADER_BYTES bytes")
    }

    /// Every field's name and value, in the order of the layout, for people and comparisons.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let wake = self.wake.map_or("none".to_string(), |wake| wake.as_millis().to_string());
        vec![
            ("kind", self.kind.name().to_string()),
            ("instrumentation", self.instrumentation.to_string()),
            ("seq", self.seq.to_string()),
            ("time", self.time.as_millis().to_string()),
            ("wake", wake),
            ("fuel", self.fuel.to_string()),
            ("memory bytes", self.memory_bytes.to_string()),
            ("refusal count", self.refusal_count.to_string()),
            ("page count", self.page_count.to_string()),
            ("object", self.object.to_string()),
            ("parent hash", self.parent.to_string()),
            ("jump hash", self.jump.to_string()),
            ("memory root", self.memory_root.to_string()),
            ("globals hash", self.globals.to_string()),
            ("code hash", self.code.to_string()),
            ("schema hash", self.schema.to_string()),
            ("policy hash", self.policy.to_string()),
            ("input hash", self.input.to_string()),
            ("effects hash", self.effects.to_string()),
            ("admission hash", self.admission.to_string()),
            ("ledger hash", self.ledger.to_string()),
            ("refusal hash", self.refusals.to_string()),
        ]
    }

    fn hashes(&self) -> [&[u8; 32]; 13] {
        [
            &self.object.0,
            &self.parent.0,
            &self.jump.0,
            &self.memory_root.0,
            &self.globals.0,
            &self.code.0,
            &self.schema.0,
            &self.policy.0,
            &self.input.0,
            &self.effects.0,
            &self.admission.0,
            &self.ledger.0,
            &self.refusals.0,
        ]
    }

    /// Reads a header from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Header::encode`] does not write.
    pub fn decode(bytes: &[u8]) -> Result<Header> {
        let mut reader = Reader::new("version header", bytes);
        let version = reader.u16()?;
        if version != HEADER_VERSION {
            return Err(reader.fail(2, &format!("version {HEADER_VERSION}"), version));
        }
        let code = reader.u8()?;
        let kind = Kind::from_code(code).ok_or_else(|| reader.fail(1, "a kind below 9", code))?;
        zero(&mut reader, 1)?;
        let header = Header {
            kind,
            instrumentation: reader.u32()?,
            seq: reader.u64()?,
            time: reader.time()?,
            wake: Some(reader.time()?).filter(|&wake| wake != NO_WAKE),
            fuel: reader.u64()?,
            memory_bytes: reader.u64()?,
            refusal_count: reader.u64()?,
            page_count: {
                let count = reader.u32()?;
                zero(&mut reader, 4)?;
                count
            },
            object: ObjectId(reader.array()?),
            parent: VersionHash(reader.array()?),
            jump: VersionHash(reader.array()?),
            memory_root: MemoryRoot(reader.array()?),
            globals: GlobalsHash(reader.array()?),
            code: CodeHash(reader.array()?),
            schema: SchemaHash(reader.array()?),
            policy: PolicyHash(reader.array()?),
            input: InputHash(reader.array()?),
            effects: EffectsHash(reader.array()?),
            admission: AdmissionHash(reader.array()?),
            ledger: LedgerHash(reader.array()?),
            refusals: RefusalHash(reader.array()?),
        };
        reader.end()?;
        header.validate()?;
        Ok(header)
    }

    /// Checks the rules that a header obeys by itself, so that it equals its decoded bytes.
    pub(crate) fn validate(&self) -> Result<()> {
        let genesis = self.seq == 0;
        let fail = |offset, expected: &str, found: String| {
            Err(Error::decode("version header", offset, expected, found))
        };
        if self.wake == Some(NO_WAKE) {
            return Err(Error::none("wake", "a moment", NO_WAKE.as_millis()));
        }
        if self.seq > SEQ_MAX {
            return fail(8, &format!("at most {SEQ_MAX}"), self.seq.to_string());
        }
        if self.refusal_count > SEQ_MAX {
            return fail(48, &format!("at most {SEQ_MAX}"), self.refusal_count.to_string());
        }
        if self.kind.is_genesis() != genesis {
            let expected = "kind create or fork in version 0 and nowhere else";
            return fail(2, expected, self.kind.name().into());
        }
        let none = (self.object == ObjectId::NONE, self.parent == VersionHash::NONE);
        if none != (genesis, genesis) || (self.jump == VersionHash::NONE) != genesis {
            return fail(64, "object, parent and jump in all but version 0", self.seq.to_string());
        }
        if jump_seq(self.seq) + 1 == self.seq && self.jump != self.parent {
            return fail(128, "the parent as jump", self.jump.to_string());
        }
        if !self.memory_bytes.is_multiple_of(PAGE_BYTES as u64)
            || self.memory_bytes > MEMORY_BYTES_MAX
        {
            return fail(40, "a memory of whole pages", self.memory_bytes.to_string());
        }
        Ok(())
    }

    /// The version's hash: its identity, and its successor's `parent`.
    pub fn hash(&self) -> VersionHash {
        VersionHash::of(&self.encode())
    }

    /// The object that this is a version of, the genesis included.
    pub fn object_id(&self) -> ObjectId {
        match self.kind.is_genesis() {
            true => self.hash().into(),
            false => self.object,
        }
    }
}

fn zero(reader: &mut Reader<'_>, count: usize) -> Result<()> {
    let bytes = reader.bytes(count)?;
    match bytes.iter().find(|&&byte| byte != 0) {
        Some(byte) => Err(reader.fail(count, "zero", byte)),
        None => Ok(()),
    }
}
