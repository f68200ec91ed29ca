//! Objects of a store whose versions are direct writes of drawn values, and a model of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use continuant_query::Snapshot;
use object::commit::Commit;
use object::effects::{Admission, Effects, globals_hash};
use object::hash::ObjectId;
use object::head::{Head, Outcome, genesis};
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::ledger::Tracked;
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page, Tree};
use object::refusal::{Reason, Refusal, Verdict};
use object::secret::Secret;
use object::time::Time;
use policy::STACK_BYTES;
use policy::definition::Definition;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use schema::{Value, encode_value, write};
use storage::{Append, Blob, Change, NewCommit, Options, Store};
use tempfile::TempDir;

use crate::module::{STATE, module};

/// The time of the first genesis, in milliseconds since 1970.
pub(crate) const START: u64 = 1_356_998_400_000;
const WIT: &str = "
    package fleet:book;
    interface book {
        record spot { row: u16, column: u8 }
        record state { count: u64, level: u32, spot: spot, next: option<u32>, never: bool }
        add: func(more: u64);
    }";
const POLICY: &str = "@id(\"any\") permit(principal, action == Action::\"write\", resource);";
/// The fields that are written, by path; `never` is not.
pub(crate) const FIELDS: [&str; 5] = ["count", "level", "spot.row", "spot.column", "next"];

/// A version as the model has it.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) time: u64,
    pub(crate) fields: BTreeMap<&'static str, Value>,
    /// The details of the verdicts behind it, of its own time.
    pub(crate) refused: Vec<String>,
}

/// An object and its model.
pub(crate) struct Book {
    pub(crate) head: Head,
    pub(crate) versions: Vec<Written>,
    pub(crate) name: String,
    image: Image,
    tree: Tree,
}

/// A store with some objects in it.
pub(crate) struct Shelf {
    pub(crate) store: Store,
    pub(crate) definition: Arc<Definition>,
    pub(crate) books: Vec<Book>,
    pub(crate) rng: StdRng,
    _directory: TempDir,
}

/// A random seed, unless `SEED` is set; printed, so that a failure shows it.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

impl Shelf {
    /// Appends `count` objects of up to `versions` versions each, in turn.
    pub(crate) fn of(count: usize, versions: usize) -> Shelf {
        let make = || Definition::new(&module(WIT, STATE), POLICY).unwrap();
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(make);
        let definition = Arc::new(thread.unwrap().join().unwrap());
        let directory = TempDir::new().unwrap();
        let store = Options::new().segment_bytes(64 << 10).open(directory.path().join("db"));
        let (store, rng) = (store.unwrap(), StdRng::seed_from_u64(seed()));
        let books = Vec::new();
        let mut shelf = Shelf { store, definition, books, rng, _directory: directory };
        for index in 0..count {
            shelf.create(index);
        }
        for _ in 1..versions {
            for index in 0..count {
                if shelf.rng.random_bool(0.2) {
                    shelf.refuse(index);
                }
                shelf.write(index);
            }
        }
        shelf
    }

    fn create(&mut self, index: usize) {
        let base = Arc::new(BaseImage::new(&[0; 3 * PAGE_BYTES], vec![]).unwrap());
        let image = Image::new(Arc::clone(&base));
        let tree = Tree::of(&image);
        let drawn = self.rng.random();
        let request = Request::Create { salt: Secret::image_salt(&drawn), arguments: Vec::new() };
        let input = Input {
            request,
            time: Time::from_millis(START + index as u64 * 500),
            credential: None,
        };
        let effects = Effects::default();
        let secret = Secret::new(drawn);
        let outcome = outcome(&self.definition, &effects, &image, &tree, 0);
        let head = Head::new(genesis(&input, &outcome, &secret), secret.clone());
        let fields = [
            ("count", Value::U64(0)),
            ("level", Value::U32(0)),
            ("spot.row", Value::U16(0)),
            ("spot.column", Value::U8(0)),
            ("next", Value::Option(None)),
        ];
        let written =
            Written { time: input.time.as_millis(), fields: fields.into(), refused: Vec::new() };
        let name = format!("{}/{index}", if index.is_multiple_of(2) { "even" } else { "odd" });
        let wasm = module(WIT, STATE);
        let (policy, encoded) = (self.definition.policy.encode(), base.encode());
        let commit = Commit {
            header: (*head.header).clone(),
            input: &input.encode(),
            effects: &effects.encode(),
            admission: &Admission::default().encode(),
            globals: None,
            pages: Vec::new(),
        };
        let (hash, base) = (head.hash, Some(base.hash()));
        let (secret, before) = (Some(&secret), Some(&image));
        let new = NewCommit { commit, hash, base, secret, ledger: None, before };
        let append = Append {
            blobs: vec![Blob::Code(&wasm), Blob::Policy(&policy), Blob::Base(&encoded)],
            changes: vec![Change::Commit(new)],
            names: vec![(&name, head.id)],
            ..Append::default()
        };
        self.store.commit(&append).unwrap();
        self.books.push(Book { head, versions: vec![written], name, image, tree });
    }

    /// The next version: some fields get drawn values, often those that they have.
    fn write(&mut self, index: usize) {
        let (book, rng) = (&mut self.books[index], &mut self.rng);
        let mut written = book.versions.last().unwrap().clone();
        written.refused.clear();
        written.time += rng.random_range(0..3) * 1000;
        for _ in 0..rng.random_range(0..3) {
            let field = FIELDS[rng.random_range(0..FIELDS.len())];
            let number = rng.random_range(0..4u8);
            let value = match field {
                "count" => Value::U64(number.into()),
                "level" => Value::U32(number.into()),
                "spot.row" => Value::U16(number.into()),
                "spot.column" => Value::U8(number),
                _ => Value::Option((number > 0).then(|| Box::new(Value::U32(number.into())))),
            };
            written.fields.insert(field, value);
        }
        let schema = &self.definition.schema;
        let fields = written.fields.iter().map(|(path, value)| {
            let place = schema.resolve(path).unwrap();
            (path.to_string(), encode_value(value, place.ty()).unwrap())
        });
        let fields: Vec<(String, Vec<u8>)> = fields.collect();
        let pages = write::apply(schema, STATE, &book.image, &fields).unwrap();
        let image = book.image.step(book.image.bytes_count(), pages.clone()).unwrap();
        let dirty: Vec<u32> = pages.iter().map(|(index, _)| *index).collect();
        book.tree.update(&image, &dirty);
        let input = Input {
            request: Request::Write { fields },
            time: Time::from_millis(written.time),
            credential: None,
        };
        let (effects, admission) = (
            Effects::default(),
            Admission { rules: vec!["any".to_string()], ..Admission::default() },
        );
        let outcome = outcome(&self.definition, &effects, &image, &book.tree, pages.len());
        let (header, ledger) = book.head.successor(&input, &outcome, &admission);
        book.head.advance(header, ledger);
        let changed: Vec<(u32, &Page)> =
            pages.iter().map(|(index, page)| (*index, &**page)).collect();
        let commit = Commit {
            header: (*book.head.header).clone(),
            input: &input.encode(),
            effects: &effects.encode(),
            admission: &admission.encode(),
            globals: None,
            pages: changed,
        };
        let (hash, before) = (book.head.hash, Some(&book.image));
        let (base, secret, ledger) = (None, None, None);
        let new = NewCommit { commit, hash, base, secret, ledger, before };
        let append = Append { changes: vec![Change::Commit(new)], ..Append::default() };
        self.store.commit(&append).unwrap();
        book.image = image;
        book.versions.push(written);
    }

    fn refuse(&mut self, index: usize) {
        let book = &mut self.books[index];
        let newest = book.versions.last_mut().unwrap();
        let request = Request::Call { method: "add".to_string(), arguments: vec![0; 8] };
        let input = Input { request, time: Time::from_millis(newest.time), credential: None };
        let detail = format!("number {}", self.rng.random::<u32>());
        let refusal: Refusal =
            book.head.refusal(&input, Verdict::native(Reason::Trap, detail.clone()));
        let append = Append { changes: vec![Change::Refusal(&refusal)], ..Append::default() };
        self.store.commit(&append).unwrap();
        book.head.record(&refusal);
        newest.refused.push(detail);
    }

    /// A version of an object, as a snapshot.
    pub(crate) fn at(&self, id: ObjectId, seq: u64) -> Snapshot {
        let version = self.store.version(id, seq).unwrap().unwrap();
        let header = version.commit.header().clone();
        Snapshot::new(Arc::clone(&self.definition), header, version.image)
    }
}

impl Book {
    pub(crate) fn id(&self) -> ObjectId {
        self.head.id
    }
}

fn outcome<'e>(
    definition: &Definition,
    effects: &'e Effects,
    image: &Image,
    tree: &Tree,
    pages: usize,
) -> Outcome<'e> {
    Outcome {
        effects,
        instrumentation: 1,
        fuel: 0,
        memory_bytes: image.bytes_count(),
        memory_root: tree.root(),
        page_count: pages as u32,
        globals: globals_hash(&[]),
        parts: definition.parts(),
        tracked: Tracked::NONE,
    }
}
