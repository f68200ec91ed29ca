//! Lineages for tests: objects whose steps are made up, with valid headers, roots and chains.
//!
//! Storage never runs code, so none is needed. It holds no test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use continuant_storage::{Append, Blob, Change, NewCommit, Options, Result, Store};
use object::commit::Commit;
use object::credential::{Credential, PublicKey, SigningKey};
use object::effects::{Admission, Effects, Output, WakeChange, encode_globals, globals_hash};
use object::hash::{CodeHash, ObjectId, PolicyHash, SchemaHash};
use object::head::{Head, Outcome, Parts, genesis};
use object::header::Kind;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::ledger::{Ledger, Tracked};
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page, Tree, page_count};
use object::message::Message;
use object::refusal::{Reason, Refusal, Verdict};
use object::secret::Secret;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// 2013-01-01T00:00:00Z, in milliseconds since 1970.
pub(crate) const START: u64 = 1_356_998_400_000;
/// The bytes in place of a module; storage does not read them.
pub(crate) const CODE: &[u8] = b"code of the objects of these tests";
/// The bytes in place of other code, which objects here may be upgraded to.
pub(crate) const OTHER_CODE: &[u8] = b"other code";
/// The bytes in place of a policy.
pub(crate) const POLICY: &[u8] = b"policy of the objects of these tests";

/// The base image of all objects here: three pages, the middle one not zero.
pub(crate) fn base() -> BaseImage {
    let mut memory = vec![0; 3 * PAGE_BYTES];
    memory[PAGE_BYTES..2 * PAGE_BYTES].fill(7);
    BaseImage::new(&memory, vec![1, 2]).unwrap()
}

/// The base image of the other code: one page less, and a global more.
fn other_base() -> BaseImage {
    let mut memory = vec![0; 2 * PAGE_BYTES];
    memory[PAGE_BYTES..].fill(8);
    BaseImage::new(&memory, vec![1, 2, 3]).unwrap()
}

/// An object, and the random steps that it takes.
pub(crate) struct Author {
    pub(crate) head: Head,
    pub(crate) image: Image,
    pub(crate) globals: Vec<u64>,
    tree: Tree,
    rng: StdRng,
    code: &'static [u8],
    /// True if the object's code changes now and then, to the other code and back.
    pub(crate) upgrades: bool,
    /// The credential of the next version and its signers, when they are not drawn.
    asked: Option<(Credential, Vec<PublicKey>)>,
}

/// A record, and the values needed to append it.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Version {
        bytes: Vec<u8>,
        ledger: Option<Arc<Ledger>>,
        begins: bool,
        secret: Option<Secret>,
        before: Image,
    },
    Refusal(Refusal),
}

impl Made {
    pub(crate) fn change<'a>(&'a self) -> Change<'a> {
        match self {
            Made::Version { bytes, ledger, begins, secret, before } => {
                let commit = Commit::decode(bytes).unwrap();
                let base = begins.then(|| before.base().hash());
                let (ledger, before) = (ledger.as_ref(), Some(before));
                let (hash, secret) = (commit.header.hash(), secret.as_ref());
                Change::Commit(NewCommit { commit, hash, base, secret, ledger, before })
            }
            Made::Refusal(refusal) => Change::Refusal(refusal),
        }
    }
}

impl Made {
    fn is_upgrade(&self) -> bool {
        let Made::Version { bytes, .. } = self else { return false };
        Commit::decode(bytes).unwrap().header.kind == Kind::Upgrade
    }
}

impl Author {
    /// A new object, and its genesis.
    pub(crate) fn new(seed: u64) -> (Author, Made) {
        Author::at(seed, 0)
    }

    /// A new object, whose genesis is this much later than others'.
    pub(crate) fn at(seed: u64, later: u64) -> (Author, Made) {
        let mut rng = StdRng::seed_from_u64(seed);
        let base = Arc::new(base());
        let drawn = rng.random();
        let request = Request::Create { salt: Secret::image_salt(&drawn), arguments: Vec::new() };
        let time = Time::from_millis(START + later + rng.random_range(0..1000));
        let input = Input { request, time, credential: None };
        let globals = base.globals().to_vec();
        let image = Image::new(base);
        let tree = Tree::of(&image);
        let effects = Effects { wake: wake(&mut rng), ..Effects::default() };
        let outcome = outcome(&effects, &tree, &image, &globals, (CODE, 0));
        let secret = Secret::new(drawn);
        let head = Head::new(genesis(&input, &outcome, &secret), secret.clone());
        let bytes = encode(&head, &input, &effects, &Admission::default(), None, &[]);
        let before = image.clone();
        let (code, upgrades, asked) = (CODE, false, None);
        let author = Author { head, image, globals, tree, rng, code, upgrades, asked };
        let secret = Some(secret);
        (author, Made::Version { bytes, ledger: None, begins: true, secret, before })
    }

    /// Returns a copy of the object, which takes its own steps from here.
    pub(crate) fn twin(&mut self) -> Author {
        let rng = StdRng::seed_from_u64(self.rng.random());
        let (head, image, tree) = (self.head.clone(), self.image.clone(), self.tree.clone());
        let (globals, code, upgrades) = (self.globals.clone(), self.code, self.upgrades);
        Author { head, image, globals, tree, rng, code, upgrades, asked: None }
    }

    /// Returns a new object whose code changes now and then.
    pub(crate) fn upgrading(seed: u64) -> (Author, Made) {
        let (author, made) = Author::new(seed);
        (Author { upgrades: true, ..author }, made)
    }

    /// The next record: mostly a version, sometimes a refusal.
    pub(crate) fn next(&mut self) -> Made {
        if self.upgrades && self.rng.random_bool(0.06) {
            return self.upgrade();
        }
        if self.rng.random_bool(0.15) { self.refuse() } else { self.step() }
    }

    /// The next version: some pages change, sometimes the memory grows, sometimes it is signed.
    pub(crate) fn step(&mut self) -> Made {
        let rng = &mut self.rng;
        let mut count = page_count(self.image.bytes_count());
        if rng.random_bool(0.05) && count < 400 {
            count += rng.random_range(1..60);
        }
        let changed = if rng.random_bool(0.02) { 40 } else { rng.random_range(0..4) };
        let mut indices: Vec<u32> = (0..changed).map(|_| rng.random_range(0..count)).collect();
        indices.sort_unstable();
        indices.dedup();
        let pages = indices.iter().map(|&index| {
            let mut page = if index < page_count(self.image.bytes_count()) {
                *self.image.page(index)
            } else {
                [0; PAGE_BYTES]
            };
            match rng.random_bool(0.4) {
                true => rng.fill(&mut page),
                false => page[rng.random_range(0..PAGE_BYTES)] = rng.random(),
            }
            (index, Arc::new(page))
        });
        let pages: Vec<(u32, Arc<Page>)> = pages.collect();
        let image = self.image.step(u64::from(count) * PAGE_BYTES as u64, pages).unwrap();
        if rng.random_bool(0.1) {
            self.globals = vec![rng.random(), 2];
        }
        let time =
            self.head.header.time.saturating_add(Duration::from_secs(rng.random_range(0..3)));
        let outputs = (0..rng.random_range(0..2))
            .map(|_| Output { name: "said".to_string(), payload: vec![9; 20] })
            .collect();
        let effects = Effects { outputs, wake: wake(rng), ..Effects::default() };
        self.commit(image, &indices, time.as_millis(), &effects)
    }

    /// The next version, at some time: one byte of one page changes.
    pub(crate) fn step_at(&mut self, time: u64) -> Made {
        let mut page = *self.image.page(0);
        page[self.rng.random_range(0..PAGE_BYTES)] = self.rng.random();
        let bytes = self.image.bytes_count();
        let image = self.image.step(bytes, vec![(0, Arc::new(page))]).unwrap();
        self.commit(image, &[0], time, &Effects::default())
    }

    /// The next version, of the other code: some pages differ from its base image.
    pub(crate) fn upgrade(&mut self) -> Made {
        let (code, base) = match self.code == CODE {
            true => (OTHER_CODE, other_base()),
            false => (CODE, base()),
        };
        self.code = code;
        self.globals = base.globals().to_vec();
        let before = Image::new(Arc::new(base));
        self.tree = Tree::of(&before);
        let indices: Vec<u32> = (0..self.rng.random_range(0..3)).collect();
        let pages = indices.iter().map(|&index| {
            let mut page: Page = [0; PAGE_BYTES];
            self.rng.fill(&mut page);
            (index, Arc::new(page))
        });
        let image = before.step(3 * PAGE_BYTES as u64, pages.collect()).unwrap();
        if self.rng.random_bool(0.5) {
            self.globals[0] = self.rng.random();
        }
        let globals = (self.globals != before.base().globals()).then(|| self.globals.clone());
        let Parts { code, policy, .. } = parts(self.code);
        let request = Request::Upgrade { code, policy };
        let time = self.head.header.time;
        let made = self.commit_as(request, image, &indices, time.as_millis(), &Effects::default());
        let Made::Version { bytes, ledger, .. } = made else { unreachable!("it is a version") };
        // The globals are those that differ from the base image's.
        let globals = globals.map(|globals| encode_globals(&globals));
        let mut commit = Commit::decode(&bytes).unwrap();
        commit.globals = globals.as_deref();
        let mut bytes = Vec::new();
        commit.encode_into(&mut bytes);
        Made::Version { bytes, ledger, begins: true, secret: None, before }
    }

    /// The next version: one byte of one page changes.
    pub(crate) fn touch(&mut self) -> Made {
        self.step_at(self.head.header.time.as_millis())
    }

    /// The next version: nothing changes, and messages are sent.
    pub(crate) fn send(&mut self, messages: Vec<Message>) -> Made {
        let (image, time) = (self.image.clone(), self.head.header.time);
        self.commit(image, &[], time.as_millis(), &Effects { messages, ..Effects::default() })
    }

    /// The next version: nothing changes, and it has this credential, of these signers. Storage
    /// verifies no signature.
    pub(crate) fn ask(
        &mut self,
        request: Request,
        time: u64,
        credential: Credential,
        signers: &[PublicKey],
    ) -> Made {
        self.asked = Some((credential, signers.to_vec()));
        let image = self.image.clone();
        self.commit_as(request, image, &[], time, &Effects::default())
    }

    /// The last version: a deletion.
    pub(crate) fn delete(&mut self) -> Made {
        let (image, time) = (self.image.clone(), self.head.header.time);
        let effects = Effects::without_code(&Request::Delete);
        self.commit_as(Request::Delete, image, &[], time.as_millis(), &effects)
    }

    fn commit(&mut self, image: Image, pages: &[u32], time: u64, effects: &Effects) -> Made {
        let request = Request::Call { method: "step".to_string(), arguments: vec![1, 2, 3] };
        self.commit_as(request, image, pages, time, effects)
    }

    fn commit_as(
        &mut self,
        request: Request,
        image: Image,
        pages: &[u32],
        time: u64,
        effects: &Effects,
    ) -> Made {
        let mut admission = Admission { rules: vec!["anyone".to_string()], ..Admission::default() };
        let mut input = Input { request, time: Time::from_millis(time), credential: None };
        if let Some((credential, signers)) = self.asked.take() {
            (input.credential, admission.signers) = (Some(credential), signers);
        } else if self.rng.random_bool(0.2) {
            let key = SigningKey::from_secret(&[self.rng.random_range(1..4); 32]);
            let mut credential =
                Credential::new(self.head.header.seq + 1, Time::from_millis(time + 1000));
            credential.sign(&key, self.head.id, &input.request);
            admission.signers = vec![key.public()];
            input.credential = Some(credential);
        }
        let old_globals = self.head.header.globals;
        self.tree.update(&image, pages);
        let of = (self.code, pages.len());
        let outcome = outcome(effects, &self.tree, &image, &self.globals, of);
        let (header, ledger) = self.head.successor(&input, &outcome, &admission);
        let encoded = (header.ledger != self.head.header.ledger).then(|| Arc::clone(&ledger));
        self.head.advance(header, ledger);
        let before = std::mem::replace(&mut self.image, image);
        let globals =
            (self.head.header.globals != old_globals).then(|| encode_globals(&self.globals));
        let pages: Vec<(u32, &Page)> =
            pages.iter().map(|&index| (index, self.image.page(index))).collect();
        let bytes = encode(&self.head, &input, effects, &admission, globals.as_deref(), &pages);
        Made::Version { bytes, ledger: encoded, begins: false, secret: None, before }
    }

    /// The next refusal.
    pub(crate) fn refuse(&mut self) -> Made {
        let request = Request::Call { method: "no".to_string(), arguments: vec![4] };
        let time = self.head.header.time;
        let input = Input { request, time, credential: None };
        let verdict = Verdict::native(Reason::Trap, self.rng.random::<u32>().to_string());
        let refusal = self.head.refusal(&input, verdict);
        self.head.record(&refusal);
        Made::Refusal(refusal)
    }
}

fn wake(rng: &mut StdRng) -> WakeChange {
    match rng.random_range(0..6) {
        0 => WakeChange::Set(Time::from_millis(START + rng.random_range(0..1_000_000))),
        1 => WakeChange::Clear,
        _ => WakeChange::Keep,
    }
}

/// Returns the parts of an object of this code.
pub(crate) fn parts(code: &[u8]) -> Parts {
    Parts { code: CodeHash::of(code), schema: SchemaHash::of(b""), policy: PolicyHash::of(POLICY) }
}

fn outcome<'e>(
    effects: &'e Effects,
    tree: &Tree,
    image: &Image,
    globals: &[u64],
    (code, pages): (&[u8], usize),
) -> Outcome<'e> {
    Outcome {
        effects,
        instrumentation: 1,
        fuel: 10,
        memory_bytes: image.bytes_count(),
        memory_root: tree.root(),
        page_count: pages as u32,
        globals: globals_hash(globals),
        parts: parts(code),
        tracked: Tracked::NONE,
    }
}

fn encode(
    head: &Head,
    input: &Input,
    effects: &Effects,
    admission: &Admission,
    globals: Option<&[u8]>,
    pages: &[(u32, &Page)],
) -> Vec<u8> {
    let commit = Commit {
        header: (*head.header).clone(),
        input: &input.encode(),
        effects: &effects.encode(),
        admission: &admission.encode(),
        globals,
        pages: pages.to_vec(),
    };
    let mut bytes = Vec::new();
    commit.encode_into(&mut bytes);
    bytes
}

/// Appends records as one frame and waits until it is durable.
pub(crate) fn append(store: &Store, made: &[Made], names: &[(&str, ObjectId)]) -> Result<()> {
    let (sent, durable) = channel();
    let done = move |result| drop(sent.send(result));
    let appended = in_one_frame(made, names, |append| store.append(append, done).map(drop));
    let durable = durable.recv().expect("the callback is called once");
    assert_eq!(appended.is_err(), durable.is_err() && appended.is_err());
    durable
}

/// Calls `append` with the parts of one frame of records.
pub(crate) fn in_one_frame<T>(
    made: &[Made],
    names: &[(&str, ObjectId)],
    append: impl FnOnce(&Append<'_>) -> T,
) -> T {
    let (base, other_base) = (base().encode(), other_base().encode());
    let mut blobs = vec![Blob::Code(CODE), Blob::Policy(POLICY), Blob::Base(&base)];
    if made.iter().any(|made| made.is_upgrade()) {
        blobs.extend([Blob::Code(OTHER_CODE), Blob::Base(&other_base)]);
    }
    append(&Append {
        blobs,
        changes: made.iter().map(Made::change).collect(),
        names: names.to_vec(),
        ..Append::default()
    })
}

/// Options with small segments, so that tests pass through many.
pub(crate) fn small() -> Options {
    Options::new().segment_bytes(64 << 10).index_cache_bytes(1 << 20)
}

/// Copies a database as a crash would leave it: the present content of its files.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Checks that a check of the store finds nothing.
pub(crate) fn assert_sound(store: &Store) {
    let report = store.check(|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
}

/// Opens a store again that writes its index often: a copy as a crash would leave it, or the log
/// without the index.
pub(crate) fn reopen(store: Store, path: &mut PathBuf, crashed: bool) -> Store {
    match crashed {
        true => {
            let mut name = path.file_name().unwrap().to_os_string();
            name.push("-left");
            let left = path.with_file_name(name);
            copy(path, &left);
            *path = left;
            drop(store);
        }
        false => {
            drop(store);
            Options::new().rebuild_index(&*path).unwrap();
        }
    }
    small().recent_rows_max(2).open(&*path).unwrap()
}
