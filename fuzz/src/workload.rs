//! Work for a store on a simulated disk: drawn before there is a store, with the expected content
//! of the store after each frame, so that it can be repeated on disks that fail.
//!
//! This module does not know how disks fail, nor how a store handles it.
//!
//! Invariant: frame `n` of the work leads from state `n - 1` to state `n`; the disk's trace has a
//! mark with `n` once the frame was acknowledged.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use object::hash::ObjectId;
use object::head::Head;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{CapsuleReader, ErrorKind, ObjectInfo, Options, Seal, Store};

use crate::disk::SimulatedDisk;
use crate::disk::volume::{Mark, Operation, Volume};
use crate::generate::lineage::{Author, Ingredients};
use crate::generate::source;
use crate::outcome::{Outcome, equal, hold, must};
use crate::targets::storage_model::model::Model;
use crate::targets::storage_model::names::Renaming;
use crate::targets::storage_model::{Draft, append, compare, draft, patient, push};

/// The path of the store.
pub(crate) const PATH: &str = "/fleet";

/// The content of a store at one moment.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) model: Model,
    authors: Vec<Author>,
    list: Vec<ObjectInfo>,
}

enum Step {
    Append(Draft),
    /// Frames that become durable together.
    Group(Vec<Draft>),
    /// Frames that are appended while the index is written.
    Race(Vec<Draft>),
    Checkpoint,
    /// Full segments are replaced by packs, or the open one too.
    Compact {
        all: bool,
    },
    /// The store is closed, or only dropped, and opened again.
    Reopen {
        close: bool,
    },
    Import(Box<Capsule>),
    Rename(Renaming),
}

struct Capsule {
    bytes: Vec<u8>,
    head: Head,
    seal: Seal,
}

/// Steps, and the states that they lead to.
pub(crate) struct Work {
    parts: Arc<Ingredients>,
    options: Options,
    steps: Vec<Step>,
    /// The states before the first frame, after it, after the second and so on.
    pub(crate) states: Vec<State>,
}

/// The order of threads: in turn, or racing, which no seed repeats exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Threads {
    InTurn,
    Racing,
}

impl Work {
    /// Draws work of `steps` steps for a store that does not exist yet.
    pub(crate) fn new(rng: &mut StdRng, steps: usize, threads: Threads) -> Result<Work, String> {
        let parts = Arc::new(Ingredients::small(rng));
        Work::from(rng, parts, State::default(), steps, threads)
    }

    /// More work, for a store that has what this work's has in a state.
    pub(crate) fn after(&self, rng: &mut StdRng, state: usize) -> Result<Work, String> {
        let steps = rng.random_range(1..5);
        let (parts, state) = (Arc::clone(&self.parts), self.states[state].clone());
        Work::from(rng, parts, state, steps, Threads::InTurn)
    }

    fn from(
        rng: &mut StdRng,
        parts: Arc<Ingredients>,
        state: State,
        steps: usize,
        threads: Threads,
    ) -> Result<Work, String> {
        let options = match threads {
            Threads::Racing => patient().recent_rows_max(1),
            Threads::InTurn => patient(),
        };
        let mut work = Work { parts, options, steps: Vec::new(), states: vec![state] };
        for _ in 0..steps {
            let step = work.step(rng, threads)?;
            work.steps.push(step);
        }
        Ok(work)
    }

    fn step(&mut self, rng: &mut StdRng, threads: Threads) -> Result<Step, String> {
        Ok(match rng.random_range(0..22) {
            0..2 => Step::Checkpoint,
            2 => Step::Compact { all: rng.random_bool(0.5) },
            3..5 => Step::Reopen { close: rng.random_bool(0.5) },
            5 => self.import(rng)?,
            20.. => self.rename(rng),
            // Appends wait for the index then, so the log's thread cannot be kept back.
            6..10 if threads == Threads::Racing => Step::Race(self.drafts(rng)),
            6..10 => Step::Group(self.drafts(rng)),
            _ => Step::Append(self.draft(rng)),
        })
    }

    /// A change of names, where there are any to change.
    fn rename(&mut self, rng: &mut StdRng) -> Step {
        let mut state = self.last().clone();
        let drawn = (0..8).find_map(|_| {
            let renaming = Renaming::draw(rng, &state.model)?;
            (renaming.is_change(&state.model) == Some(true)).then_some(renaming)
        });
        let Some(renaming) = drawn else { return Step::Append(self.draft(rng)) };
        renaming.apply(&mut state.model);
        self.enter(state);
        Step::Rename(renaming)
    }

    fn drafts(&mut self, rng: &mut StdRng) -> Vec<Draft> {
        (0..rng.random_range(2..5)).map(|_| self.draft(rng)).collect()
    }

    fn draft(&mut self, rng: &mut StdRng) -> Draft {
        let mut state = self.last().clone();
        let draft = draft(rng, &self.parts, &mut state.authors, &state.model);
        state.model.apply(&draft);
        self.enter(state);
        draft
    }

    fn last(&self) -> &State {
        self.states.last().expect("work has a state to start with")
    }

    fn enter(&mut self, mut state: State) {
        state.list = compare::infos(&state.model);
        self.states.push(state);
    }

    /// An object of another store, which is here once it is imported.
    fn import(&mut self, rng: &mut StdRng) -> Result<Step, String> {
        let disk = SimulatedDisk::new(Volume::new());
        let other = must("opening another", patient().disk(Arc::new(disk)).open(PATH))?;
        let (mut author, genesis) = Author::begin(rng, &self.parts);
        let mut made = vec![genesis];
        for _ in 0..rng.random_range(0..6) {
            made.push(match rng.random_bool(0.25) {
                true => author.refusal(rng),
                false => author.version(rng),
            });
        }
        let (draft, head) = (Draft { made, names: Vec::new() }, author.head.clone());
        must("appending to another", append(&other, &self.parts, &draft))?;
        let mut bytes = Vec::new();
        must("exporting", other.export(head.id, &mut bytes, |_, _| {}))?;
        let mut reader = must("reading a capsule", CapsuleReader::new(&bytes[..]))?;
        while must("reading a capsule", reader.next())?.is_some() {}
        let seal = reader.seal().ok_or("a capsule that was read has a seal")?;
        let mut state = self.last().clone();
        state.model.import(author.head.id, &draft);
        state.authors.push(author);
        self.enter(state);
        Ok(Step::Import(Box::new(Capsule { bytes, head, seal })))
    }

    /// The options that the store is opened with, but for its disk.
    pub(crate) fn options(&self) -> Options {
        self.options.clone()
    }

    fn open(&self, disk: &SimulatedDisk) -> storage::Result<Store> {
        self.options().disk(Arc::new(disk.clone())).open(PATH)
    }

    /// Does the work on a disk until it is done or fails, and closes the store.
    pub(crate) fn run(&self, disk: &SimulatedDisk) -> storage::Result<()> {
        let mut run = Run { work: self, disk, store: None, frames: 0 };
        run.open()?;
        let done = self.steps.iter().try_for_each(|step| run.step(step));
        if done.is_err() && run.store.is_some() {
            run.insist();
            // Its word that all is durable counts, and not that it fails as well.
            run.close(true).unwrap_or_default();
        }
        done?;
        run.close(true)
    }

    /// The frames that were acknowledged, or said to be durable, according to a trace.
    pub(crate) fn acknowledged(trace: &[Operation]) -> usize {
        let marks = trace.iter().filter_map(|operation| match operation {
            Operation::Mark(Mark::Acknowledged(frames) | Mark::Durable(frames)) => Some(*frames),
            _ => None,
        });
        marks.max().unwrap_or(0)
    }

    /// Opens the store on a disk that has at least the frames up to `acknowledged`, and says which
    /// state it has: one of the work, whole, and sound. The disk is of no use afterwards.
    pub(crate) fn recover(
        &self,
        disk: &SimulatedDisk,
        acknowledged: usize,
        rng: &mut StdRng,
    ) -> Result<usize, String> {
        let store = must("opening", self.open(disk))?;
        let found = self.recognise(&store, acknowledged, rng);
        // Closing it would only cost time.
        disk.kill();
        found
    }

    /// Reads a store on a disk that has at least the frames up to `acknowledged` and takes no
    /// change any more.
    pub(crate) fn read(
        &self,
        disk: &SimulatedDisk,
        acknowledged: usize,
        rng: &mut StdRng,
    ) -> Outcome {
        let options = self.options().read_only(true).disk(Arc::new(disk.clone()));
        let store = must("opening for reading", options.open(PATH))?;
        self.recognise(&store, acknowledged, rng)?;
        must("closing what was read", store.close())?;
        drop(store);
        let changes = disk.take_trace();
        hold(format!("reading changes nothing: {changes:?}"), changes.is_empty())
    }

    fn recognise(
        &self,
        store: &Store,
        acknowledged: usize,
        rng: &mut StdRng,
    ) -> Result<usize, String> {
        let list = must("listing", store.list(None, usize::MAX))?;
        let mut alike = (0..self.states.len()).rev().filter(|it| self.states[*it].list == list);
        // A name that went away and came back leaves the list as it was: its history tells which.
        let same_names = |it: &usize| compare::names(store, &self.states[*it].model).is_ok();
        let state = alike.clone().find(same_names).or_else(|| alike.next());
        let state = state.ok_or_else(|| {
            let heads = list.iter().map(|info| (info.id, info.seq, info.refusal_count));
            format!("it has no state of the work: {:?}", heads.collect::<Vec<_>>())
        })?;
        let last = self.states.len() - 1;
        let about = format!("state {state} of {last}, {acknowledged} acknowledged");
        hold(format!("it has what was acknowledged: {about}"), state >= acknowledged)?;
        self.compare(store, state, rng).map_err(|problem| format!("{about}: {problem}"))?;
        Ok(state)
    }

    fn compare(&self, store: &Store, state: usize, rng: &mut StdRng) -> Outcome {
        let model = &self.states[state].model;
        // Reading by time, by seq and backwards takes a while, and is the same once heads and
        // lineages are.
        match rng.random_bool(0.05) {
            true => compare::store(store, model, rng)?,
            false => compare::heads(store, model)?,
        }
        for name in self.last().model.names.keys().filter(|name| !model.names.contains_key(*name)) {
            let found: Option<ObjectId> = must("finding", store.find(name))?;
            equal("the object of a name that is not bound", &None, &found)?;
        }
        let report = must("checking", store.check(|_, _| {}))?;
        hold(format!("it is sound: {:?}", report.damage), report.is_sound())
    }
}

/// Work being done.
struct Run<'a> {
    work: &'a Work,
    disk: &'a SimulatedDisk,
    /// Open, but while it is being opened again.
    store: Option<Arc<Store>>,
    /// Frames that were pushed.
    frames: usize,
}

impl Run<'_> {
    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().expect("the store is open between steps")
    }

    fn open(&mut self) -> storage::Result<()> {
        self.store = Some(Arc::new(self.work.open(self.disk)?));
        self.disk.mark(Mark::Well);
        Ok(())
    }

    /// Closes the store, or only drops it.
    fn close(&mut self, close: bool) -> storage::Result<()> {
        let store = self.store.take().expect("the store is open between steps");
        let closed = if close { store.close() } else { Ok(()) };
        closed.inspect_err(|error| {
            if *error.kind() == ErrorKind::UncleanClose {
                self.disk.mark(Mark::Durable(self.frames));
            }
        })
    }

    fn step(&mut self, step: &Step) -> storage::Result<()> {
        match step {
            Step::Append(draft) => self.push_all(std::slice::from_ref(draft)),
            Step::Group(drafts) => self.group(drafts),
            Step::Race(drafts) => self.race(drafts),
            Step::Checkpoint => self.store().checkpoint(),
            Step::Compact { all } => self.compact(*all),
            Step::Reopen { close } => {
                self.close(*close)?;
                self.open()
            }
            Step::Rename(renaming) => {
                renaming.run(self.store())?;
                self.frames += 1;
                self.disk.mark(Mark::Acknowledged(self.frames));
                Ok(())
            }
            Step::Import(capsule) => {
                let Capsule { bytes, head, seal } = &**capsule;
                self.store().import(&bytes[..], head, *seal)?;
                self.frames += 1;
                self.disk.mark(Mark::Acknowledged(self.frames));
                Ok(())
            }
        }
    }

    fn compact(&mut self, all: bool) -> storage::Result<()> {
        let done = match all {
            true => self.store().compact_all(Time::MIN, |_, _| {}),
            false => self.store().compact(Time::MIN, |_, _| {}),
        };
        match done {
            // There is no room for a pack; there may be for frames.
            Err(error) if *error.kind() != ErrorKind::Full => Err(error),
            _ => {
                self.disk.mark(Mark::Room);
                Ok(())
            }
        }
    }

    /// Appends frames without waiting, and then waits for all.
    fn push_all(&mut self, drafts: &[Draft]) -> storage::Result<()> {
        let (told, results) = channel();
        let pushed = drafts.iter().try_for_each(|draft| self.push(draft, told.clone(), || {}));
        drop(told);
        // Each append gets its result, also when it could not be pushed.
        pushed.and(wait(results))
    }

    fn push(
        &mut self,
        draft: &Draft,
        told: Sender<storage::Result<()>>,
        then: impl FnOnce() + Send + 'static,
    ) -> storage::Result<()> {
        let (disk, number) = (self.disk.clone(), self.frames + 1);
        push(self.store(), &self.work.parts, draft, move |result| {
            let is_durable = result.is_ok();
            if is_durable {
                disk.mark(Mark::Acknowledged(number));
            }
            told.send(result).expect("whoever pushed waits");
            if is_durable {
                then();
            }
        })?;
        self.frames = number;
        Ok(())
    }

    /// Appends to every object after a failure; nothing of it should be acknowledged.
    fn insist(&mut self) {
        let state = &self.work.states[self.frames];
        let mut rng = source(self.frames as u64);
        for author in &state.authors {
            let made = vec![author.clone().version(&mut rng)];
            let draft = Draft { made, names: Vec::new() };
            let (told, result) = channel();
            // A failed push gets its result as well.
            let _ = push(self.store(), &self.work.parts, &draft, move |result| {
                told.send(result).expect("whoever pushed waits");
            });
            if result.recv().expect("the callback is called, whatever happens").is_ok() {
                self.disk.mark(Mark::Acknowledged(self.frames));
            }
        }
    }

    /// Keeps the log's thread back behind the first frame until all others are pushed.
    fn group(&mut self, drafts: &[Draft]) -> storage::Result<()> {
        let (first, others) = drafts.split_first().expect("a group has frames");
        let (release, released) = channel::<()>();
        let (told, result) = channel();
        // Ends when the other side is dropped.
        self.push(first, told, move || released.recv().unwrap_or_default())?;
        result.recv().expect("the callback is called, whatever happens")?;
        let (told, results) = channel();
        let pushed = others.iter().try_for_each(|draft| self.push(draft, told.clone(), || {}));
        drop((told, release));
        pushed.and(wait(results))
    }

    fn race(&mut self, drafts: &[Draft]) -> storage::Result<()> {
        let store = Arc::clone(self.store());
        let writing = std::thread::spawn(move || store.checkpoint());
        let pushed = self.push_all(drafts);
        pushed.and(writing.join().expect("a checkpoint does not panic"))
    }
}

/// Waits for the results of all pushed appends.
fn wait(results: Receiver<storage::Result<()>>) -> storage::Result<()> {
    let told: Vec<_> = results.into_iter().collect();
    told.into_iter().collect()
}
