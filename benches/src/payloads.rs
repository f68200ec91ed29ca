//! The content of the invented objects: their parts and base image, and the payloads of their
//! versions.
//!
//! This module does not know stores. A memory root here is the hash of one page, which a store does
//! not examine.

use std::sync::{Arc, LazyLock};

use anyhow::Result;
use continuant::Time;
use continuant::object::commit::Commit;
use continuant::object::effects::{Admission, Effects, WakeChange, globals_hash};
use continuant::object::hash::{BaseHash, CodeHash, MemoryRoot, PolicyHash, SchemaHash};
use continuant::object::head::{Outcome, Parts, genesis};
use continuant::object::header::Header;
use continuant::object::image::{BaseImage, Image};
use continuant::object::input::{Input, Request};
use continuant::object::ledger::Tracked;
use continuant::object::memory::Page;
use continuant::object::secret::{SECRET_BYTES, Secret};
use continuant::storage::{Append, Blob, Change, NewCommit, Store};

const MEMORY_BYTES: u64 = 65_536;
const CODE: &[u8] = b"a module";
const POLICY: &[u8] = b"a policy";
/// The page that versions change.
pub const PAGE_INDEX: u32 = 1;

/// The payloads of a version, without its header and its page.
#[derive(Debug)]
pub(crate) struct Payloads {
    pub(crate) input: Input,
    effects: Effects,
    pub(crate) admission: Admission,
    /// Input, effects and admission as bytes.
    pub(crate) encoded: [Vec<u8>; 3],
}

impl Payloads {
    fn new(request: Request, time: u64, effects: Effects, admission: Admission) -> Payloads {
        let input = Input { request, time: Time::from_millis(time), credential: None };
        let encoded = [input.encode(), effects.encode(), admission.encode()];
        Payloads { input, effects, admission, encoded }
    }

    /// Returns the payloads of a call that one rule permits.
    pub(crate) fn call(time: u64) -> Payloads {
        let arguments = time.to_le_bytes().to_vec();
        let request = Request::Call { method: "increment".to_string(), arguments };
        let effects = Effects { result: vec![0; 8], ..Effects::default() };
        let rules = vec!["count".to_string()];
        let admission = Admission { rules, ..Admission::default() };
        Payloads::new(request, time, effects, admission)
    }

    /// Returns the payloads of the creation of the object with this number.
    fn creation(number: u64, wake: Option<Time>) -> Payloads {
        let salt = Secret::image_salt(&drawn(number));
        let request = Request::Create { salt, arguments: Vec::new() };
        let wake = wake.map_or(WakeChange::Keep, WakeChange::Set);
        let effects = Effects { result: vec![0; 8], wake, ..Effects::default() };
        Payloads::new(request, 0, effects, Admission::default())
    }

    pub(crate) fn outcome(&self, memory_root: MemoryRoot, page_count: u32) -> Outcome<'_> {
        let (instrumentation, fuel, globals) = (2, 100, globals_hash(&[]));
        let (effects, memory_bytes) = (&self.effects, MEMORY_BYTES);
        let (parts, tracked) = (parts(), Tracked::NONE);
        Outcome {
            effects,
            instrumentation,
            fuel,
            memory_bytes,
            memory_root,
            page_count,
            globals,
            parts,
            tracked,
        }
    }

    pub(crate) fn commit<'a>(&'a self, header: Header, page: Option<&'a Page>) -> Commit<'a> {
        let [input, effects, admission] = &self.encoded;
        let pages = page.into_iter().map(|page| (PAGE_INDEX, page)).collect();
        Commit { header, input, effects, admission, globals: None, pages }
    }
}

/// Returns the secret of the object with this number.
pub(crate) fn secret(number: u64) -> Secret {
    Secret::new(drawn(number))
}

fn drawn(number: u64) -> [u8; SECRET_BYTES] {
    let mut drawn = [0; SECRET_BYTES];
    drawn[..8].copy_from_slice(&number.to_le_bytes());
    drawn
}

/// Returns the parts of all objects.
fn parts() -> Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts {
        code: CodeHash::of(CODE),
        schema: SchemaHash::of(b"a schema"),
        policy: PolicyHash::of(POLICY),
    });
    *PARTS
}

/// The mold of all objects: their base image and genesis.
pub(crate) struct Mold {
    /// The memory that they start with.
    pub(crate) image: Image,
    base: Vec<u8>,
    base_hash: BaseHash,
    zero_root: MemoryRoot,
}

impl Mold {
    pub(crate) fn new() -> Result<Mold> {
        let memory = vec![0; MEMORY_BYTES as usize];
        let image = Image::new(Arc::new(BaseImage::new(&memory, Vec::new())?));
        let base = image.base().encode();
        let (base_hash, zero_root) = (BaseHash::of(&base), MemoryRoot::of(&memory));
        Ok(Mold { image, base, base_hash, zero_root })
    }

    /// Creates the object that has this number, without waiting for the disk.
    pub(crate) fn create(&self, store: &Store, number: u64, wake: Option<u64>) -> Result<Header> {
        let payloads = Payloads::creation(number, wake.map(Time::from_millis));
        let (outcome, secret) = (payloads.outcome(self.zero_root, 0), secret(number));
        let header = genesis(&payloads.input, &outcome, &secret);
        // The store keeps each of them once; looking whether it has them is not free.
        let blobs = match number {
            0 => vec![Blob::Code(CODE), Blob::Policy(POLICY), Blob::Base(&self.base)],
            _ => Vec::new(),
        };
        let commit = payloads.commit(header.clone(), None);
        let (hash, base) = (header.hash(), Some(self.base_hash));
        let (secret, ledger, before) = (Some(&secret), None, None);
        let change = NewCommit { commit, hash, base, secret, ledger, before };
        let changes = vec![Change::Commit(change)];
        store.append(&Append { blobs, changes, ..Append::default() }, |_| {})?;
        Ok(header)
    }
}
