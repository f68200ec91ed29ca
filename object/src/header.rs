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
pub const HEADER_VERSION: u16 = 2;

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
    /// The object was deleted: nothing follows.
    Delete,
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
        Kind::Delete,
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
            Kind::Delete => 9,
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
            Kind::Delete => "delete",
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
    /// The object's id; none in its genesis, whose hash is the id.
    pub object: Option<ObjectId>,
    /// The version before; none in the genesis.
    pub parent: Option<VersionHash>,
    /// The ancestor at [`jump_seq`]`(seq)`; none in the genesis.
    pub jump: Option<VersionHash>,
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
    /// The last refusal on record before this version, if there is one.
    ///
    /// Invariant: there is one exactly when `refusal_count` is not 0.
    pub refusals: Option<RefusalHash>,
}

impl Header {
    /// The header's bytes.
    ///
    /// # Panics
    ///
    /// When a hash is there that the header's numbers deny, or the other way round; not for a
    /// header that is [valid](Header::validate).
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        assert!(self.has_its_hashes(), "a header has the hashes that its numbers say");
        let mut bytes = ArrayVec::<u8, HEADER_BYTES>::new();
        bytes.put_u16(HEADER_VERSION).put_u8(self.kind.code());
        bytes.put_u8(u8::from(self.wake.is_some()));
        bytes.put_u32(self.instrumentation).put_u64(self.seq).put_time(self.time);
        bytes.put_time(self.wake.unwrap_or_default()).put_u64(self.fuel);
        bytes.put_u64(self.memory_bytes);
        bytes.put_u64(self.refusal_count).put_u32(self.page_count).put_u32(0);
        for hash in self.hashes() {
            bytes.put(hash);
        }
        bytes.into_inner().expect("the layout has HEADER_BYTES bytes")
    }

    /// Every field's name and value, in the order of the layout, for people and comparisons.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("kind", self.kind.name().to_string()),
            ("instrumentation", self.instrumentation.to_string()),
            ("seq", self.seq.to_string()),
            ("time", self.time.as_millis().to_string()),
            ("wake", shown(self.wake.map(Time::as_millis))),
            ("fuel", self.fuel.to_string()),
            ("memory bytes", self.memory_bytes.to_string()),
            ("refusal count", self.refusal_count.to_string()),
            ("page count", self.page_count.to_string()),
            ("object", shown(self.object)),
            ("parent hash", shown(self.parent)),
            ("jump hash", shown(self.jump)),
            ("memory root", self.memory_root.to_string()),
            ("globals hash", self.globals.to_string()),
            ("code hash", self.code.to_string()),
            ("schema hash", self.schema.to_string()),
            ("policy hash", self.policy.to_string()),
            ("input hash", self.input.to_string()),
            ("effects hash", self.effects.to_string()),
            ("admission hash", self.admission.to_string()),
            ("ledger hash", self.ledger.to_string()),
            ("refusal hash", shown(self.refusals)),
        ]
    }

    /// Returns whether object, parent and jump are there in all but version 0, and the hash of a
    /// refusal behind one.
    fn has_its_hashes(&self) -> bool {
        let chained = [self.object.is_some(), self.parent.is_some(), self.jump.is_some()];
        chained == [self.seq > 0; 3] && self.refusals.is_some() == (self.refusal_count > 0)
    }

    fn hashes(&self) -> [&[u8; 32]; 13] {
        const ABSENT: &[u8; 32] = &[0; 32];
        [
            self.object.as_ref().map_or(ABSENT, |it| &it.0),
            self.parent.as_ref().map_or(ABSENT, |it| &it.0),
            self.jump.as_ref().map_or(ABSENT, |it| &it.0),
            &self.memory_root.0,
            &self.globals.0,
            &self.code.0,
            &self.schema.0,
            &self.policy.0,
            &self.input.0,
            &self.effects.0,
            &self.admission.0,
            &self.ledger.0,
            self.refusals.as_ref().map_or(ABSENT, |it| &it.0),
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
        let kind = Kind::from_code(code).ok_or_else(|| reader.fail(1, "a kind below 10", code))?;
        let has_wake = reader.flag()?;
        let (instrumentation, seq, time) = (reader.u32()?, reader.u64()?, reader.time()?);
        let wake = if_there(&mut reader, has_wake)?;
        let (fuel, memory_bytes, refusal_count) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let page_count = reader.u32()?;
        reader.zeros::<4>()?;
        let header = Header {
            kind,
            instrumentation,
            seq,
            time,
            wake: wake.map(|wake| Time::from_millis(u64::from_le_bytes(wake))),
            fuel,
            memory_bytes,
            refusal_count,
            page_count,
            object: if_there(&mut reader, seq > 0)?.map(ObjectId),
            parent: if_there(&mut reader, seq > 0)?.map(VersionHash),
            jump: if_there(&mut reader, seq > 0)?.map(VersionHash),
            memory_root: MemoryRoot(reader.array()?),
            globals: GlobalsHash(reader.array()?),
            code: CodeHash(reader.array()?),
            schema: SchemaHash(reader.array()?),
            policy: PolicyHash(reader.array()?),
            input: InputHash(reader.array()?),
            effects: EffectsHash(reader.array()?),
            admission: AdmissionHash(reader.array()?),
            ledger: LedgerHash(reader.array()?),
            refusals: if_there(&mut reader, refusal_count > 0)?.map(RefusalHash),
        };
        reader.end()?;
        header.validate()?;
        Ok(header)
    }

    /// Validates the rules that a header obeys by itself: one that does is what its bytes say.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode), as of the bytes that it would have.
    pub fn validate(&self) -> Result<()> {
        let genesis = self.seq == 0;
        let fail = |offset, expected: &str, found: String| {
            Err(Error::decode("version header", offset, expected, found))
        };
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
        if self.kind == Kind::Delete && self.wake.is_some() {
            return fail(3, "no wake in a deletion", "one".into());
        }
        if !self.has_its_hashes() {
            let expected = "object, parent and jump in all but version 0, a refusal if one counts";
            let found = format!("other hashes in version {}", self.seq);
            return fail(64, expected, found);
        }
        if jump_seq(self.seq) + 1 == self.seq && self.jump != self.parent {
            return fail(128, "the parent as jump", "another version".into());
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
        self.object.unwrap_or_else(|| self.hash().into())
    }

    /// Returns the object as [`object_id`](Header::object_id) does, from the header's hash.
    pub fn object_of(&self, hash: VersionHash) -> ObjectId {
        debug_assert_eq!(hash, self.hash(), "the header's hash");
        self.object.unwrap_or(hash.into())
    }
}

/// Returns the text of a value, or `none`.
pub(crate) fn shown(value: Option<impl ToString>) -> String {
    value.map_or("none".to_string(), |value| value.to_string())
}

/// Returns the next `N` bytes, if they are there; else they must be zero.
fn if_there<const N: usize>(reader: &mut Reader<'_>, is_there: bool) -> Result<Option<[u8; N]>> {
    match is_there {
        true => reader.array().map(Some),
        false => reader.zeros::<N>().map(|()| None),
    }
}
