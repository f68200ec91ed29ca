//! Many small objects at the level of the store: each version has one changed page and a small
//! unsigned input.
//!
//! No guest runs and nothing is decided: what is appended is made before the clock runs. The
//! memory root of a version is the hash of its page, which the store does not look into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use continuant::object::commit::Commit;
use continuant::object::credential::Nonces;
use continuant::object::effects::{Admission, Effects, globals_hash};
use continuant::object::hash::{BaseHash, CodeHash, MemoryRoot, PolicyHash, SchemaHash};
use continuant::object::head::{Head, Outcome, Parts, genesis};
use continuant::object::header::Header;
use continuant::object::image::BaseImage;
use continuant::object::input::{Input, Request};
use continuant::object::memory::Page;
use continuant::storage::{Append, Blob, Change, NewCommit, Store};

const MEMORY_BYTES: u64 = 65_536;
/// Different pages: more than any cache nearby holds.
const PAGE_COUNT: usize = 1024;
const CODE: &[u8] = b"a module";
const POLICY: &[u8] = b"a policy";

/// The objects, and what is appended to each of them next.
pub(crate) struct Population {
    heads: Vec<Head>,
    next: Vec<(Header, Arc<Nonces>)>,
    pages: Vec<Box<Page>>,
    payloads: Payloads,
}

/// What all versions of a round have in common.
struct Payloads {
    input: Input,
    effects: Effects,
    admission: Admission,
    encoded: [Vec<u8>; 3],
}

impl Payloads {
    fn new(request: Request, time: u64) -> Payloads {
        let input = Input { request, time, credential: None };
        let effects = Effects { result: vec![0; 8], ..Effects::default() };
        let admission = Admission { signers: Vec::new(), rules: vec!["count".to_string()] };
        let encoded = [input.encode(), effects.encode(), admission.encode()];
        Payloads { input, effects, admission, encoded }
    }

    fn outcome(&self, memory_root: MemoryRoot, page_count: u32) -> Outcome<'_> {
        let (instrumentation, fuel, globals) = (1, 100, globals_hash(&[]));
        let (effects, memory_bytes) = (&self.effects, MEMORY_BYTES);
        Outcome { effects, instrumentation, fuel, memory_bytes, memory_root, page_count, globals }
    }

    fn commit<'a>(&'a self, header: Header, page: Option<&'a Page>) -> Commit<'a> {
        let [input, effects, admission] = &self.encoded;
        let pages = page.into_iter().map(|page| (1, page)).collect();
        Commit { header, input, effects, admission, globals: None, pages }
    }
}

fn increment(time: u64) -> Payloads {
    let arguments = time.to_le_bytes().to_vec();
    Payloads::new(Request::Call { method: "increment".to_string(), arguments }, time)
}

/// A page of numbers that look random.
fn page(seed: usize) -> Box<Page> {
    let mut page: Box<Page> = Box::new([0; 4096]);
    let mut state = seed as u64 + 1;
    for word in page.chunks_exact_mut(8) {
        // The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word.copy_from_slice(&(mixed ^ (mixed >> 27)).to_le_bytes());
    }
    page
}

impl Population {
    /// Makes `count` objects in the store.
    pub(crate) fn create(store: &Store, count: usize) -> Result<Population> {
        let base = BaseImage::new(&vec![0; MEMORY_BYTES as usize], Vec::new())?.encode();
        let base_hash = BaseHash::of(&base);
        let parts = Parts {
            code: CodeHash::of(CODE),
            schema: SchemaHash::of(b"a schema"),
            policy: PolicyHash::of(POLICY),
        };
        let mut heads = Vec::with_capacity(count);
        for index in 0..count {
            let (payloads, header) = created(index, parts);
            // The store keeps each of them once; looking whether it has them is not free.
            let blobs = match index {
                0 => vec![Blob::Code(CODE), Blob::Policy(POLICY), Blob::Base(&base)],
                _ => Vec::new(),
            };
            let commit = payloads.commit(header.clone(), None);
            let change = NewCommit { commit, base: Some(base_hash), nonces: None };
            let changes = vec![Change::Commit(change)];
            store.append(&Append { blobs, changes, names: Vec::new() }, |_| {})?;
            heads.push(Head::new(header));
        }
        store.sync()?;
        let pages = (0..PAGE_COUNT.min(count)).map(page).collect();
        let payloads = increment(0);
        Ok(Population { heads, next: Vec::new(), pages, payloads })
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Makes the next version of each object, to be appended.
    pub(crate) fn prepare(&mut self, round: u64) {
        self.payloads = increment(round + 1);
        let Payloads { input, admission, .. } = &self.payloads;
        let roots: Vec<_> = self.pages.iter().map(|page| MemoryRoot::of(&page[..])).collect();
        let next = self.heads.iter().enumerate().map(|(index, head)| {
            let outcome = self.payloads.outcome(roots[index % roots.len()], 1);
            head.successor(input, &outcome, admission)
        });
        self.next = next.collect();
    }

    /// Appends the next version of each object from `threads` threads; how long it took until all
    /// of them were acknowledged.
    pub(crate) fn append(&mut self, store: &Store, threads: usize) -> Result<Duration> {
        let count = self.next.len();
        let (sender, acknowledged) = channel();
        let left = Arc::new(AtomicU64::new(count as u64));
        let share = count.div_ceil(threads.max(1)).max(1);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let shares = (0..count).step_by(share).map(|first| first..(first + share).min(count));
            let shares = shares.map(|objects| {
                let (population, left, sender) = (&*self, Arc::clone(&left), sender.clone());
                scope.spawn(move || population.append_some(store, objects, &left, &sender))
            });
            let threads: Vec<_> = shares.collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })?;
        let failed = acknowledged.recv().context("the store acknowledges every append")?;
        let took = start.elapsed();
        ensure!(!failed, "an append became not durable");
        self.advance();
        Ok(took)
    }

    fn append_some(
        &self,
        store: &Store,
        objects: std::ops::Range<usize>,
        left: &Arc<AtomicU64>,
        sender: &Sender<bool>,
    ) -> Result<()> {
        for index in objects {
            let (left, sender) = (Arc::clone(left), sender.clone());
            let done = move |durable: continuant::storage::Result<()>| {
                let last = left.fetch_sub(1, Ordering::AcqRel) == 1;
                if durable.is_err() || last {
                    // Whoever waits has stopped at the first failure.
                    sender.send(durable.is_err()).unwrap_or_default();
                }
            };
            self.append_one(store, index, done)?;
        }
        Ok(())
    }

    fn append_one(
        &self,
        store: &Store,
        index: usize,
        done: impl FnOnce(continuant::storage::Result<()>) + Send + 'static,
    ) -> Result<()> {
        let page = &self.pages[index % self.pages.len()];
        let commit = self.payloads.commit(self.next[index].0.clone(), Some(page));
        let change = Change::Commit(NewCommit { commit, base: None, nonces: None });
        store.append(&Append { changes: vec![change], ..Append::default() }, done)?;
        Ok(())
    }

    /// Appends the next version of each object, one when the one before is acknowledged; how long
    /// each took.
    pub(crate) fn append_singly(&mut self, store: &Store) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(self.next.len());
        let (sender, acknowledged) = channel();
        for index in 0..self.next.len() {
            let sender = sender.clone();
            let start = Instant::now();
            self.append_one(store, index, move |durable| drop(sender.send(durable)))?;
            acknowledged.recv()??;
            took.push(start.elapsed());
        }
        self.advance();
        Ok(took)
    }

    fn advance(&mut self) {
        for (head, (header, nonces)) in self.heads.iter_mut().zip(self.next.drain(..)) {
            head.advance(header, nonces);
        }
    }
}

/// The creation of an object.
fn created(index: usize, parts: Parts) -> (Payloads, Header) {
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&(index as u64).to_le_bytes());
    let mut payloads = Payloads::new(Request::Create { salt, arguments: Vec::new() }, 0);
    payloads.admission = Admission::default();
    payloads.encoded[2] = payloads.admission.encode();
    let root = MemoryRoot::of(&[0; MEMORY_BYTES as usize]);
    let header = genesis(&payloads.input, &payloads.outcome(root, 0), parts);
    (payloads, header)
}
