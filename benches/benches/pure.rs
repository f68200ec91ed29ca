//! Micro-benchmarks of the functions without I/O that the commit path calls: a header, the Merkle
//! tree, an admission, a commit's bytes.
//!
//! It measures the functions of the object crate as an embedder reaches them.

use std::hint::black_box;
use std::sync::Arc;

use continuant::object::commit::Commit;
use continuant::object::effects::{Admission, Effects, globals_hash};
use continuant::object::head::{Head, Outcome, genesis};
use continuant::object::image::{BaseImage, Image};
use continuant::object::input::{Input, Request};
use continuant::object::memory::{Page, Tree};
use continuant::object::secret::Secret;
use continuant::policy::STACK_BYTES;
use continuant::policy::admission::{Step, admit};
use continuant::policy::definition::Definition;
use continuant::policy::guard::NotAsked;
use continuant::schema::encode_args;
use continuant::{Header, Time, Value};
use continuant_benches::{POLICY, WASM};
use criterion::Criterion;

const MEMORY_BYTES: usize = 65_536;
const EXPECTED: &str = "what is benchmarked is valid";

/// A counter at 0, and the call that makes it 1.
struct Counter {
    definition: Definition,
    head: Head,
    before: Image,
    after: Image,
    page: Page,
    input: Input,
    effects: Effects,
}

impl Counter {
    fn new() -> Counter {
        let definition = Definition::new(WASM, POLICY).expect(EXPECTED);
        let base = BaseImage::new(&[0; MEMORY_BYTES], Vec::new()).expect(EXPECTED);
        let before = Image::new(Arc::new(base));
        let mut page: Page = [0; 4096];
        page[0] = 1;
        let state = definition.code.state_address / 4096;
        let after = before.step(MEMORY_BYTES as u64, vec![(state, Arc::new(page))]);
        let after = after.expect(EXPECTED);
        let method = definition.schema.require_method("increment").expect(EXPECTED);
        let arguments = encode_args(&[Value::from(1_u64)], &method.params).expect(EXPECTED);
        let request = Request::Call { method: "increment".to_string(), arguments };
        let input = Input { request, time: Time::from_millis(1), credential: None };
        let effects = Effects { result: vec![0; 8], ..Effects::default() };
        let header = {
            let (salt, arguments) = ([0; 32], Vec::new());
            let request = Request::Create { salt, arguments };
            let input = Input { request, time: Time::from_millis(0), credential: None };
            genesis(&input, &outcome(&definition, &effects, &before, 0), &Secret::new([0; 32]))
        };
        let head = Head::new(header, Secret::new([0; 32]));
        Counter { definition, head, before, after, page, input, effects }
    }

    fn admit(&self) -> Admission {
        let step = Step {
            input: &self.input,
            before: &self.before,
            after: &self.after,
            effects: &self.effects,
            fuel: 100,
            page_count: 1,
            instrumentation: 2,
            policy: self.definition.policy.hash(),
        };
        admit(&self.definition, &self.head, Vec::new(), step, &mut NotAsked).expect(EXPECTED)
    }

    fn successor(&self, admission: &Admission) -> Header {
        let outcome = outcome(&self.definition, &self.effects, &self.after, 1);
        self.head.successor(&self.input, &outcome, admission).0
    }
}

fn outcome<'a>(
    definition: &'a Definition,
    effects: &'a Effects,
    image: &Image,
    page_count: u32,
) -> Outcome<'a> {
    Outcome {
        effects,
        instrumentation: 2,
        fuel: 100,
        memory_bytes: MEMORY_BYTES as u64,
        memory_root: Tree::of(image).root(),
        page_count,
        globals: globals_hash(&[]),
        parts: definition.parts(),
        tracked: definition.policy.tracked(),
    }
}

fn tree(criterion: &mut Criterion) {
    let mut memory = vec![7_u8; 1 << 20];
    let mut tree = Tree::of(&memory[..]);
    let mut round = 0_usize;
    criterion.bench_function("tree update of 1 page in 1 MiB", |bencher| {
        bencher.iter(|| {
            round += 1;
            let page = round * 31 % 256;
            memory[page * 4096] = round as u8;
            tree.update(&memory[..], &[page as u32]);
            black_box(tree.root())
        });
    });
}

fn records(criterion: &mut Criterion) {
    let counter = Counter::new();
    let admission = counter.admit();
    let header = counter.successor(&admission);
    criterion.bench_function("header encode and hash", |bencher| {
        bencher.iter(|| black_box(&header).hash());
    });
    let (input, effects) = (counter.input.encode(), counter.effects.encode());
    let admission = admission.encode();
    let state = counter.definition.code.state_address / 4096;
    let commit = Commit {
        header,
        input: &input,
        effects: &effects,
        admission: &admission,
        globals: None,
        pages: vec![(state, &counter.page)],
    };
    let mut bytes = Vec::new();
    criterion.bench_function("commit encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            black_box(&commit).encode_into(&mut bytes);
            bytes.len()
        });
    });
    bytes.clear();
    commit.encode_into(&mut bytes);
    criterion.bench_function("commit decode", |bencher| {
        bencher.iter(|| Commit::decode(black_box(&bytes)).expect(EXPECTED).pages.len());
    });
}

fn admission(criterion: &mut Criterion) {
    let counter = Counter::new();
    criterion.bench_function("admit, the counter's policy", |bencher| {
        bencher.iter(|| counter.admit());
    });
}

/// All of it on a thread with the stack that policies want.
fn main() {
    let run = || {
        let mut criterion = Criterion::default().configure_from_args();
        tree(&mut criterion);
        records(&mut criterion);
        admission(&mut criterion);
        criterion.final_summary();
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    thread.expect("a thread starts").join().expect("it ends well");
}
