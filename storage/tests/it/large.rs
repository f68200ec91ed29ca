//! An object of 2 GiB is appended, leaves its store and enters another, each in the memory of a few
//! versions. Without `RUN_SLOW_TESTS` it is an object of 12 MiB.
//!
//! Each part is a process of its own, this test again, since a peak of memory is one of a process.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use continuant_storage::{Append, Blob, CapsuleReader, Change, NewCommit, Options, Store};
use object::commit::Commit;
use object::effects::{Admission, Effects, globals_hash};
use object::hash::{BaseHash, MemoryRoot};
use object::head::{Head, Outcome, genesis};
use object::image::Image;
use object::input::{Input, Request};
use object::ledger::Tracked;
use object::limits::PAGE_BYTES;
use object::memory::{Page, ZERO_PAGE};
use object::secret::Secret;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{CODE, POLICY, START, base};

/// The environment variables that give a process its part and its place.
const PART: &str = "LARGE_OBJECT_PART";
const DIRECTORY: &str = "LARGE_OBJECT_DIRECTORY";
const PAGES: &str = "LARGE_OBJECT_PAGES";
/// Bytes of memory that no process may exceed.
const PEAK_MAX: u64 = 256 << 20;
/// Pages that a version changes: 4 MiB.
const CHANGED: u32 = 1024;

/// An object whose memory is made up page by page, and never whole in memory.
struct Giant {
    head: Head,
    pages: u32,
    pages_max: u32,
    /// For each page: the version that wrote it whole, and the one that wrote its first bytes.
    written: Vec<(u32, u32)>,
    rng: StdRng,
}

/// A version's changed pages, as they are and as they were.
struct Step {
    bytes: Vec<u8>,
    before: Image,
}

impl Giant {
    fn new(pages_max: u32) -> (Giant, Step) {
        let drawn = [7; 32];
        let request = Request::Create { salt: Secret::image_salt(&drawn), arguments: Vec::new() };
        let input = Input { request, time: Time::from_millis(START), credential: None };
        let effects = Effects::default();
        let secret = Secret::new(drawn);
        let header = genesis(&input, &outcome(&effects, 0, 3, 0), &secret);
        let (head, rng) = (Head::new(header, secret), StdRng::seed_from_u64(7));
        let giant = Giant { head, pages: 3, pages_max, written: vec![(0, 0); 3], rng };
        let step = giant.encode(&input, &[], Image::new(Arc::new(base())));
        (giant, step)
    }

    fn page(&self, index: u32) -> Page {
        let mut page = ZERO_PAGE;
        let (whole, start) = self.written[index as usize];
        if whole > 0 {
            let seed = u64::from(whole) << 32 | u64::from(index);
            StdRng::seed_from_u64(seed).fill_bytes(&mut page);
        } else if index == 1 {
            page.fill(7);
        }
        if start > whole {
            page[..4].copy_from_slice(&start.to_le_bytes());
        }
        page
    }

    /// The next version, if it is `wanted`: the memory grows by pages that it writes; once it is
    /// grown, it writes pages anywhere, some whole and some in their first bytes.
    fn step(&mut self, wanted: bool) -> Option<Step> {
        let version = self.head.header.seq as u32 + 1;
        let grown = (self.pages_max - self.pages).min(CHANGED);
        let mut indices: Vec<u32> = (self.pages..self.pages + grown).collect();
        if grown == 0 {
            let all = 0..self.pages_max;
            indices = (0..CHANGED).map(|_| self.rng.random_range(all.clone())).collect();
            indices.sort_unstable();
            indices.dedup();
        }
        self.pages += grown;
        self.written.resize(self.pages as usize, (0, 0));
        let before = wanted.then(|| {
            let pages = indices.iter().map(|&index| (index, Arc::new(self.page(index)))).collect();
            let bytes_count = u64::from(self.pages) * PAGE_BYTES as u64;
            Image::new(Arc::new(base())).step(bytes_count, pages).unwrap()
        });
        for &index in &indices {
            let written = &mut self.written[index as usize];
            match grown > 0 || self.rng.random_bool(0.5) {
                true => *written = (version, 0),
                false => written.1 = version,
            }
        }
        let request = Request::Call { method: "step".to_string(), arguments: Vec::new() };
        let input = Input {
            request,
            time: Time::from_millis(START + u64::from(version)),
            credential: None,
        };
        let effects = Effects::default();
        let outcome = outcome(&effects, version, self.pages, indices.len() as u32);
        let (header, ledger) = self.head.successor(&input, &outcome, &Admission::default());
        self.head.advance(header, ledger);
        before.map(|before| self.encode(&input, &indices, before))
    }

    fn encode(&self, input: &Input, indices: &[u32], before: Image) -> Step {
        let pages: Vec<(u32, Page)> =
            indices.iter().map(|&index| (index, self.page(index))).collect();
        let commit = Commit {
            header: (*self.head.header).clone(),
            input: &input.encode(),
            effects: &Effects::default().encode(),
            admission: &Admission::default().encode(),
            globals: None,
            pages: pages.iter().map(|(index, page)| (*index, page)).collect(),
        };
        let mut bytes = Vec::new();
        commit.encode_into(&mut bytes);
        Step { bytes, before }
    }

    fn is_done(&self) -> bool {
        let growing = u64::from((self.pages_max - 3).div_ceil(CHANGED));
        self.head.header.seq >= growing + growing.div_ceil(16)
    }
}

/// Returns the outcome of a step; its memory root is arbitrary, because storage does not verify it.
fn outcome(effects: &Effects, version: u32, pages: u32, changed: u32) -> Outcome<'_> {
    Outcome {
        effects,
        instrumentation: 1,
        fuel: 1,
        memory_bytes: u64::from(pages) * PAGE_BYTES as u64,
        memory_root: MemoryRoot::of(&version.to_le_bytes()),
        page_count: changed,
        globals: globals_hash(base().globals()),
        parts: crate::author::parts(crate::author::CODE),
        tracked: Tracked::NONE,
    }
}

fn append(store: &Store, step: &Step, is_genesis: bool) {
    let base = base().encode();
    let commit = Commit::decode(&step.bytes).unwrap();
    let hash = commit.header.hash();
    let from = is_genesis.then(|| BaseHash::of(&base));
    let (before, drawn) = (Some(&step.before), Secret::new([7; 32]));
    let secret = is_genesis.then_some(&drawn);
    let new = NewCommit { commit, hash, base: from, secret, ledger: None, before };
    let append = Append {
        blobs: vec![Blob::Code(CODE), Blob::Policy(POLICY), Blob::Base(&base)],
        changes: vec![Change::Commit(new)],
        ..Append::default()
    };
    store.append(&append, |result| result.unwrap()).unwrap();
}

/// A writer that hashes the bytes on their way.
struct Hashing<W> {
    hasher: blake3::Hasher,
    to: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.hasher.update(bytes);
        self.to.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

fn export(from: &Path, giant: &Giant, to: impl Write) -> String {
    let store = Options::new().existing(true).open(from).unwrap();
    let mut to = Hashing { hasher: blake3::Hasher::new(), to };
    store.export(giant.head.id, &mut to, |_, _| {}).unwrap();
    to.hasher.finalize().to_string()
}

/// Runs one part, in a process of its own; returns its report.
fn part(name: &str, directory: &Path) -> String {
    let path = |name: &str| directory.join(name);
    let pages = std::env::var(PAGES).unwrap().parse().unwrap();
    let (mut giant, genesis) = Giant::new(pages);
    let store = (name == "append").then(|| {
        let store = Options::new().open(path("one")).unwrap();
        append(&store, &genesis, true);
        store
    });
    while !giant.is_done() {
        let step = giant.step(store.is_some());
        store.iter().zip(&step).for_each(|(store, step)| append(store, step, false));
    }
    drop(store);
    match name {
        "append" => String::new(),
        "export" => {
            export(&path("one"), &giant, BufWriter::new(File::create(path("capsule")).unwrap()))
        }
        "import" => {
            let capsule = || BufReader::new(File::open(path("capsule")).unwrap());
            let mut reader = CapsuleReader::new(capsule()).unwrap();
            while reader.next().unwrap().is_some() {}
            let seal = reader.seal().unwrap();
            let store = Options::new().open(path("two")).unwrap();
            store.import(capsule(), &giant.head, seal).unwrap();
            String::new()
        }
        "export again" => export(&path("two"), &giant, std::io::sink()),
        _ => panic!("{name} is no part"),
    }
}

/// The most memory that this process ever had resident, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes << 10
}

/// Runs a part in another process; returns its report.
fn run(name: &str, directory: &Path, pages: u32) -> String {
    let start = std::time::Instant::now();
    let test = "large::an_object_moves_in_the_memory_of_a_few_versions";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(PART, name)
        .env(DIRECTORY, directory)
        .env(PAGES, pages.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    let told = text.lines().find_map(|line| line.split_once("part: ")).unwrap().1;
    let (peak, told) = told.split_once(' ').unwrap();
    let peak: u64 = peak.parse().unwrap();
    println!("{name}: {} MiB at most, {:.1} s", peak >> 20, start.elapsed().as_secs_f64());
    assert!(peak < PEAK_MAX, "{name} took {} MiB", peak >> 20);
    told.to_string()
}

#[test]
fn an_object_moves_in_the_memory_of_a_few_versions() {
    if let Ok(name) = std::env::var(PART) {
        let told = part(&name, &PathBuf::from(std::env::var(DIRECTORY).unwrap()));
        println!("part: {} {told}", peak());
        return;
    }
    let is_slow = std::env::var_os("RUN_SLOW_TESTS").is_some();
    let pages = if is_slow { 524_288 } else { 3_072 };
    let directory = TempDir::new().unwrap();
    run("append", directory.path(), pages);
    let exported = run("export", directory.path(), pages);
    std::fs::remove_dir_all(directory.path().join("one")).unwrap();
    run("import", directory.path(), pages);
    let length = directory.path().join("capsule").metadata().unwrap().len();
    println!("a capsule of {} MiB", length >> 20);
    assert!(length > u64::from(pages) * PAGE_BYTES as u64);
    std::fs::remove_file(directory.path().join("capsule")).unwrap();
    assert_eq!(run("export again", directory.path(), pages), exported);
}
