//! A store against a map of versions: appends to several objects, refusals, upgrades, deletions,
//! names that change hands, stale appends, checkpoints, reopening, for reading alone too, crashes
//! with appends on their way, compaction, by age too, outboxes, checks beside all that, and moves
//! by capsule, there and back.
//! At the end an append of what its headers do not name, which only a check can find.
//!
//! A crash is a copy of the directory while the log's thread is held back, so that pending appends
//! are in memory only: the copy must have everything acknowledged, and nothing else.

mod busy;
pub(crate) mod compare;
pub(crate) mod leaves;
pub(crate) mod model;
pub(crate) mod names;
mod unsound;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use object::credential::PublicKey;
use object::head::Head;
use object::ledger::{DAY, Ledger, Tracked, Used};
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{Append, CapsuleReader, ErrorKind, Options, Report, Retention, Seal, Store};

use self::busy::Busy;
use self::model::Model;
use crate::generate::lineage::{Author, Ingredients, Made};
use crate::generate::{header, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::threads::watch_threads;

/// Objects of one run.
const OBJECTS_MAX: usize = 8;

/// The content of one append.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) made: Vec<Made>,
    pub(crate) names: Vec<(String, object::hash::ObjectId)>,
}

struct Run {
    rng: StdRng,
    directory: tempfile::TempDir,
    path: PathBuf,
    copies: u32,
    /// Open, but while it is being opened again.
    store: Option<Store>,
    ingredients: Ingredients,
    authors: Vec<Author>,
    model: Model,
    /// The number of outputs that each outbox has acknowledged.
    outboxes: BTreeMap<&'static str, usize>,
}

/// Names of outboxes.
const OUTBOXES: [&str; 2] = ["mail", "misspelt"];
/// The bytes by which the index may grow at once.
const INDEX_BYTES: u64 = 1 << 20;

pub(crate) fn run(seed: u64) -> Outcome {
    watch_threads();
    let mut rng = source(seed);
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let path = directory.path().join("0");
    let store = Some(must("opening", options(&mut rng).open(&path))?);
    let ingredients = Ingredients::new(&mut rng);
    let (authors, model, outboxes) = Default::default();
    let copies = 0;
    let mut run =
        Run { rng, directory, path, copies, store, ingredients, authors, model, outboxes };
    let operations = run.rng.random_range(5..60);
    for operation in 0..operations {
        run.operation().map_err(|problem| format!("operation {operation}: {problem}"))?;
        run.store().check_invariants();
        if run.rng.random_bool(0.1) {
            run.compare().map_err(|problem| format!("after operation {operation}: {problem}"))?;
        }
    }
    run.reopen()?;
    run.compare()?;
    let report = must("checking", run.store().check(|_, _| {}))?;
    hold(format!("an undamaged store is sound: {:?}", report.damage), report.is_sound())?;
    run.check_in_parts(&report)?;
    let other = must("opening", patient().open(run.directory.path().join("unsound")))?;
    unsound::run(&mut run.rng, &run.ingredients, &other)?;
    another_ledger(&mut run.rng, &run.directory.path().join("another"))
}

/// A record whose ledger is not the one that its header names: a read and a check say so.
fn another_ledger(rng: &mut StdRng, path: &Path) -> Outcome {
    let ingredients = Ingredients::small(rng);
    let (mut author, made) = Author::begin(rng, &ingredients);
    let mut draft = Draft { made: vec![made], ..Draft::default() };
    for _ in 0..rng.random_range(2..30) {
        draft.made.push(author.version(rng));
    }
    let Some(Made::Version { ledger: Some(ledger), .. }) = draft.made.last_mut() else {
        return Ok(());
    };
    let mut other = Ledger::clone(ledger);
    let used = Used { nonce: u64::MAX, expires: Time::MAX };
    other.nonces.record(&[PublicKey([0xee; 32])], used, Time::MIN, Tracked::NONE);
    *ledger = Arc::new(other);
    let store = must("opening", patient().open(path))?;
    must("appending", append(&store, &ingredients, &draft))?;
    let is_damaged = |error: &storage::Error| error.kind().is_damaged();
    let read = store.head(author.head.id);
    hold("another ledger is not read", read.as_ref().is_err_and(is_damaged))?;
    let report = must("checking", store.check(|_, _| {}))?;
    hold("another ledger is found", !report.is_sound())
}

/// Options under which much happens: small segments, an index that is written often or never.
fn options(rng: &mut StdRng) -> Options {
    match rng.random_range(0..3) {
        0 => patient().recent_rows_max(1),
        1 => patient().tail_bytes_max(20_000).group_bytes_max(10_000),
        _ => patient(),
    }
}

/// Options under which no append waits for the log's thread, and the index is written only when it
/// is asked for, and compacted at the end.
pub(crate) fn patient() -> Options {
    Options::new().segment_bytes(64 << 10).index_cache_bytes(1 << 20).compact_index(true)
}

/// Drafts changes of a few objects: the records to append, with the authors ahead of the store.
pub(crate) fn draft(
    rng: &mut StdRng,
    parts: &Ingredients,
    authors: &mut Vec<Author>,
    model: &Model,
) -> Draft {
    let mut draft = Draft::default();
    for _ in 0..rng.random_range(1..5) {
        let new = authors.len() < OBJECTS_MAX && rng.random_bool(0.2);
        if new || authors.is_empty() {
            let (author, made) = Author::begin(rng, parts);
            if rng.random_bool(0.5) {
                let name = format!("{}{}", header::name(rng), authors.len());
                let name = name.replace('\n', " ");
                if !model.names.contains_key(&name) {
                    draft.names.push((name, author.head.id));
                }
            }
            authors.push(author);
            draft.made.push(made);
        }
        let index = rng.random_range(0..authors.len());
        let id = authors[index].head.id;
        if rng.random_bool(0.03) && draft.names.iter().all(|(_, named)| *named != id) {
            // Nothing follows.
            draft.made.push(authors.swap_remove(index).delete(rng));
            continue;
        }
        let author = &mut authors[index];
        draft.made.push(match rng.random_range(0..16) {
            0..4 => author.refusal(rng),
            4 => author.upgrade(rng, parts),
            _ => author.version(rng),
        });
    }
    draft
}

/// Appends and waits; whether it is durable. Every other draft is written by this thread, when it
/// is free to.
pub(crate) fn append(store: &Store, parts: &Ingredients, draft: &Draft) -> storage::Result<()> {
    if draft.made.len() % 2 == 1 {
        return in_one_frame(parts, draft, |append| store.commit(append).map(drop));
    }
    let (sender, durable) = channel();
    let appended = push(store, parts, draft, move |result| drop(sender.send(result)));
    let durable = durable.recv().expect("the callback is called, whatever happens");
    assert_eq!(appended.is_err(), durable.is_err(), "the callback hears what the caller hears");
    durable
}

pub(crate) fn push(
    store: &Store,
    parts: &Ingredients,
    draft: &Draft,
    done: impl FnOnce(storage::Result<()>) + Send + 'static,
) -> storage::Result<()> {
    in_one_frame(parts, draft, |append| store.append(append, done).map(drop))
}

fn in_one_frame<T>(parts: &Ingredients, draft: &Draft, append: impl FnOnce(&Append<'_>) -> T) -> T {
    append(&Append {
        blobs: parts.blobs(),
        changes: draft.made.iter().map(Made::change).collect(),
        names: draft.names.iter().map(|(name, id)| (name.as_str(), *id)).collect(),
        ..Append::default()
    })
}

/// A change by itself.
fn only(made: Made) -> Draft {
    Draft { made: vec![made], names: vec![] }
}

/// Requires that something failed in a certain way.
fn is<T: std::fmt::Debug>(
    result: &storage::Result<T>,
    what: &str,
    so: impl Fn(&ErrorKind) -> bool,
) -> Outcome {
    hold(format!("{what}: {result:?}"), result.as_ref().is_err_and(|error| so(error.kind())))
}

/// The seal of a capsule, which is read to its end.
fn seal_of(capsule: &[u8]) -> Result<Seal, String> {
    let mut reader = must("reading a capsule", CapsuleReader::new(capsule))?;
    while must("reading a capsule", reader.next())?.is_some() {}
    Ok(reader.seal().ok_or("a capsule that was read has a seal")?)
}

/// Copies a database's files as they are.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    must("making a directory", std::fs::create_dir_all(to))?;
    for entry in must("listing", std::fs::read_dir(from))? {
        let entry = must("listing", entry)?;
        let to = to.join(entry.file_name());
        if must("listing", entry.file_type())?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            must("copying", std::fs::copy(entry.path(), to))?;
        }
    }
    Ok(())
}

impl Run {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between operations")
    }

    /// Closes the store, by closing or by dropping it, and opens the one in `path`.
    fn open(&mut self, path: PathBuf, options: Options) -> Outcome {
        if let Some(store) = self.store.take() {
            match self.rng.random_bool(0.5) {
                true => must("closing", store.close())?,
                false => drop(store),
            }
        }
        self.store = Some(must("reopening", options.existing(true).open(&path))?);
        self.path = path;
        Ok(())
    }

    fn operation(&mut self) -> Outcome {
        if self.authors.is_empty() {
            return self.step();
        }
        match self.rng.random_range(0..31) {
            27..30 => self.rename(),
            30 => self.more(),
            26 => self.age(),
            25 => self.busy(),
            24 => self.trim(),
            20 => self.compact(),
            21 | 22 => self.outbox(),
            23 => self.read_only(),
            0 => must("a checkpoint", self.store().checkpoint()),
            1 => self.reopen(),
            2 => self.crash(),
            3 => self.stale(),
            4 => self.taken_name(),
            5 => self.emigrate(),
            6 => must("waiting for all", self.store().sync()),
            7 => self.name_like_an_id(),
            _ => self.step(),
        }
    }

    /// Appends behind a deletion, and requires that nothing is taken.
    fn more(&mut self) -> Outcome {
        let index = self.rng.random_range(0..self.authors.len());
        let mut undead = self.authors[index].clone();
        let id = undead.head.id;
        let draft = only(self.authors[index].delete(&mut self.rng));
        let name = self.model.objects[&id].name.clone();
        must("deleting", append(self.store(), &self.ingredients, &draft))?;
        self.model.apply(&draft);
        self.authors.swap_remove(index);
        let found = name.map(|name| must("finding", self.store().find(&name))).transpose()?;
        equal("the object of a name that was freed", &None, &found.flatten())?;
        let made = match self.rng.random_bool(0.5) {
            true => undead.version(&mut self.rng),
            false => undead.refusal(&mut self.rng),
        };
        let is_deleted = |kind: &ErrorKind| matches!(kind, ErrorKind::Deleted { .. });
        let result = append(self.store(), &self.ingredients, &only(made));
        is(&result, "nothing follows a deletion", is_deleted)?;
        is(&self.store().set_moved(id, true), "what is deleted moves nowhere", is_deleted)?;
        is(&self.store().set_name(id, "again", Time::MIN), "it has no name", is_deleted)
    }

    fn draft(&mut self) -> Draft {
        draft(&mut self.rng, &self.ingredients, &mut self.authors, &self.model)
    }

    fn step(&mut self) -> Outcome {
        let draft = self.draft();
        must("appending", append(self.store(), &self.ingredients, &draft))?;
        self.model.apply(&draft);
        Ok(())
    }

    /// Requires that a check in parts finds the same as one all at once.
    fn check_in_parts(&mut self, whole: &Report) -> Outcome {
        let few = self.rng.random_range(1..8000);
        self.open(self.path.clone(), patient().existing(true).check_bytes_max(few))?;
        let parts = must("checking in parts", self.store().check(|_, _| {}))?;
        equal("what is found in parts", &compare::findings(whole), &compare::findings(&parts))
    }

    fn reopen(&mut self) -> Outcome {
        let options = options(&mut self.rng);
        self.open(self.path.clone(), options)
    }

    /// Copies the directory while some appends wait for the log's thread, and continues in the
    /// copy.
    fn crash(&mut self) -> Outcome {
        self.open(self.path.clone(), patient())?;
        let draft = self.draft();
        let (release, held) = hold_back(self.store(), &self.ingredients, &draft)?;
        self.model.apply(&draft);
        let before = self.authors.clone();
        for _ in 0..self.rng.random_range(0..4) {
            let draft = self.draft();
            must("appending", push(self.store(), &self.ingredients, &draft, |_| {}))?;
        }
        self.copies += 1;
        let path = self.directory.path().join(self.copies.to_string());
        let copied = copy(&self.path, &path);
        // The tree has only durable leaves.
        let compared = self.model.leaves.compare(self.store());
        drop((release, held));
        copied.and(compared)?;
        self.authors = before;
        let options = options(&mut self.rng);
        self.open(path, options)?;
        self.compare()
    }

    /// An append that follows a version that is not the head any more.
    fn stale(&mut self) -> Outcome {
        let index = self.rng.random_range(0..self.authors.len());
        let mut behind = self.authors[index].clone();
        let draft = Draft { made: vec![self.authors[index].version(&mut self.rng)], names: vec![] };
        must("appending", append(self.store(), &self.ingredients, &draft))?;
        self.model.apply(&draft);
        let mut stale = Draft::default();
        if self.rng.random_bool(0.5) {
            // All or nothing: the other object's version must not be there either.
            let mut other = Author::begin(&mut self.rng, &self.ingredients);
            stale.made.extend([other.1, other.0.version(&mut self.rng)]);
        }
        stale.made.push(match self.rng.random_bool(0.5) {
            true => behind.version(&mut self.rng),
            false => behind.refusal(&mut self.rng),
        });
        let result = append(self.store(), &self.ingredients, &stale);
        let kind = result.as_ref().map_err(|error| error.kind().clone()).err();
        hold(
            format!("a stale append conflicts: {result:?}"),
            matches!(kind, Some(ErrorKind::Conflict { .. })),
        )
    }

    /// Exports an object into another store, which must then have the same of it.
    fn emigrate(&mut self) -> Outcome {
        let index = self.rng.random_range(0..self.authors.len());
        let head = self.authors[index].head.clone();
        let mut bytes = Vec::new();
        must("exporting", self.store().export(head.id, &mut bytes, |_, _| {}))?;
        let seal = seal_of(&bytes)?;
        let path = self.directory.path().join(format!("abroad {}", self.copies));
        self.copies += 1;
        let other = must("opening", options(&mut self.rng).open(&path))?;
        must("importing", other.import(&bytes[..], &head, seal))?;
        let again = other.import(&bytes[..], &head, seal);
        hold("an object is imported once", again.is_err())?;
        let mut model = self.model.only(head.id);
        compare::store(&other, &model, &mut self.rng)?;
        let mut author = self.authors[index].clone();
        let mut made = Vec::new();
        if self.rng.random_bool(0.5) {
            made.push(author.refusal(&mut self.rng));
        }
        made.push(author.version(&mut self.rng));
        let draft = Draft { made, names: vec![] };
        must("continuing abroad", append(&other, &self.ingredients, &draft))?;
        model.apply(&draft);
        self.comes_back(index, &other, (author, &draft), (&bytes, &head, seal))?;
        must("closing", other.close())?;
        drop(other);
        let other = must("reopening", options(&mut self.rng).existing(true).open(&path))?;
        compare::store(&other, &model, &mut self.rng)?;
        let report = must("checking", other.check(|_, _| {}))?;
        equal("damage abroad", &0, &report.damage_count)
    }

    /// Replaces segments by packs: nothing is dropped, and all full segments, or all of them,
    /// become packs.
    fn compact(&mut self) -> Outcome {
        let all = self.rng.random_bool(0.5);
        let store = self.store();
        let compacted = match all {
            true => store.compact_all(Time::MIN, |_, _| {}),
            false => store.compact(Time::MIN, |_, _| {}),
        };
        let compacted = must("compacting", compacted)?;
        equal("versions that were let go", &0, &compacted.trimmed_count)?;
        let held = must("figures", store.stats())?.bytes_on_disk;
        // The index may be written meanwhile.
        let about = format!("{held} bytes on the disk: {compacted:?}");
        hold(about, held.abs_diff(compacted.bytes_after) <= INDEX_BYTES)?;
        // The rule of retention is all that a new segment begins with.
        hold(
            format!("the open segment is empty: {compacted:?}"),
            !all || compacted.open_bytes < 200,
        )?;
        let log = must("listing", std::fs::read_dir(self.path.join("log")))?;
        let names = log.map(|entry| Ok(must("listing", entry)?.file_name()));
        let names: Vec<_> = names.collect::<Result<_, String>>()?;
        let is_plain = |name: &&std::ffi::OsString| name.to_string_lossy().ends_with(".log");
        let is_pack = |name: &&std::ffi::OsString| name.to_string_lossy().ends_with(".pack");
        let plain = names.iter().filter(is_plain).count();
        equal(&format!("segments that are no packs, of {names:?}, {compacted:?}"), &1, &plain)?;
        let packs = names.iter().filter(is_pack).count();
        equal("files of the log", &(packs + 1), &names.len())
    }

    /// Makes an outbox, takes some outputs out of it, or removes it.
    fn outbox(&mut self) -> Outcome {
        let name = OUTBOXES[self.rng.random_range(0..OUTBOXES.len())];
        let Some(&acknowledged) = self.outboxes.get(name) else {
            let missing = self.store().outbox(name);
            hold("an outbox is made on request only", missing.is_err())?;
            hold(
                "nor is there one to remove",
                !must("removing", self.store().remove_outbox(name))?,
            )?;
            drop(must("making an outbox", self.store().create_outbox(name))?);
            self.outboxes.insert(name, 0);
            return Ok(());
        };
        if self.rng.random_bool(0.1) {
            self.outboxes.remove(name);
            return hold("it is removed", must("removing", self.store().remove_outbox(name))?);
        }
        let left = self.model.outputs.len() - acknowledged;
        let count = self.rng.random_range(0..=left);
        let mut outbox = must("an outbox", self.store().outbox(name))?;
        for expected in &self.model.outputs[acknowledged..acknowledged + count] {
            let given =
                must("an output", outbox.next().transpose())?.ok_or("an output is given")?;
            equal("the output", expected, &(given.version, given.index))?;
            must("acknowledging", outbox.acknowledge(given.place))?;
        }
        drop(outbox);
        self.outboxes.insert(name, acknowledged + count);
        Ok(())
    }

    /// Opens the store for reading alone, compares, and opens it as before.
    fn read_only(&mut self) -> Outcome {
        self.open(self.path.clone(), patient().read_only(true))?;
        self.compare()?;
        let draft =
            Draft { made: vec![Author::begin(&mut self.rng, &self.ingredients).1], names: vec![] };
        let result = append(self.store(), &self.ingredients, &draft);
        let kind = result.as_ref().map_err(|error| error.kind().clone()).err();
        hold(format!("it takes no change: {result:?}"), kind == Some(ErrorKind::ReadOnly))?;
        self.reopen()
    }

    /// Takes back an object that continued abroad, if it did not continue here as well; an older
    /// capsule is refused.
    fn comes_back(
        &mut self,
        index: usize,
        abroad: &Store,
        (author, went_on): (Author, &Draft),
        (older, older_head, older_seal): (&[u8], &Head, Seal),
    ) -> Outcome {
        let id = older_head.id;
        let mut bytes = Vec::new();
        must("exporting abroad", abroad.export(id, &mut bytes, |_, _| {}))?;
        let seal = seal_of(&bytes)?;
        let name = self.model.objects.get(&id).and_then(|object| object.name.clone());
        if self.rng.random_bool(0.3) {
            hold("it was not moved", must("moving", self.store().set_moved(id, true))?)?;
            let mut ahead = self.authors[index].clone();
            let made = match self.rng.random_bool(0.5) {
                true => ahead.version(&mut self.rng),
                false => ahead.refusal(&mut self.rng),
            };
            let result = append(self.store(), &self.ingredients, &only(made));
            is(&result, "nothing is appended", |kind| matches!(kind, ErrorKind::Moved))?;
            if self.rng.random_bool(0.5) {
                self.reopen()?;
            }
            let moved = must("the info", self.store().info(id))?.is_some_and(|info| info.moved);
            hold("it is moved away", moved)?;
            if self.rng.random_bool(0.3) {
                hold("it was moved", must("taking back", self.store().set_moved(id, false))?)?;
            }
        }
        if self.rng.random_bool(0.5) {
            must("taking back", self.store().set_moved(id, false))?;
            let made = match self.rng.random_bool(0.5) {
                true => self.authors[index].version(&mut self.rng),
                false => self.authors[index].refusal(&mut self.rng),
            };
            let draft = only(made);
            must("going on here", append(self.store(), &self.ingredients, &draft))?;
            self.model.apply(&draft);
            let result = self.store().import(&bytes[..], &author.head, seal);
            return is(&result, "it went another way", |kind| {
                matches!(kind, ErrorKind::Diverged { .. })
            });
        }
        must("coming back", self.store().import(&bytes[..], &author.head, seal))?;
        // Outputs made abroad were given abroad.
        let outputs = self.model.outputs.clone();
        self.model.import(id, went_on);
        self.model.outputs = outputs;
        self.authors[index] = author;
        let found = must("the info", self.store().info(id))?.ok_or("it is here")?;
        equal("its name", &name, &found.name)?;
        let heads = [(older, older_head, older_seal), (&bytes, &self.authors[index].head, seal)];
        for (bytes, head, seal) in heads {
            let result = self.store().import(bytes, head, seal);
            is(&result, "it is here already", |kind| {
                matches!(kind, ErrorKind::HereAlready { moved: false, .. })
            })?;
        }
        Ok(())
    }

    fn compare(&mut self) -> Outcome {
        let store = self.store.as_ref().expect("the store is open between operations");
        self.compare_outboxes(store)?;
        compare::store(store, &self.model, &mut self.rng)
    }

    /// Compares the outputs that each outbox of a store has not given.
    fn compare_outboxes(&self, store: &Store) -> Outcome {
        let status = must("the outboxes", store.outbox_status())?;
        let names: Vec<&str> = status.iter().map(|outbox| &*outbox.name).collect();
        equal("the outboxes", &self.outboxes.keys().copied().collect::<Vec<_>>(), &names)?;
        for outbox in &status {
            let left = &self.model.outputs[self.outboxes[&*outbox.name]..];
            equal("outputs behind", &(left.len() as u64), &outbox.behind_count)?;
            let mut given = Vec::new();
            let mut outgoing = must("an outbox", store.outbox(&outbox.name))?;
            while let Some(output) = must("an output", outgoing.next().transpose())? {
                given.push((output.version, output.index));
            }
            equal("the outputs", &left.to_vec(), &given)?;
        }
        Ok(())
    }

    /// Copies the database when all is durable; returns where to.
    fn copied(&mut self, name: &str) -> Result<PathBuf, String> {
        must("waiting for all", self.store().sync())?;
        self.copies += 1;
        let path = self.directory.path().join(format!("{name} {}", self.copies));
        copy(&self.path, &path)?;
        Ok(path)
    }

    /// Checks a copy while it changes.
    fn busy(&mut self) -> Outcome {
        let path = self.copied("busy")?;
        let bytes_max = if self.rng.random_bool(0.5) { 1 << 20 } else { 2000 };
        let options = options(&mut self.rng).existing(true).check_bytes_max(bytes_max);
        let store = must("opening a copy", options.open(&path))?;
        let (rng, left) = (source(self.rng.random()), self.rng.random_range(1..12));
        let (authors, model) = (self.authors.clone(), self.model.clone());
        let (store, parts, is_compacting) = (&store, &self.ingredients, false);
        let mut busy = Busy { store, rng, parts, authors, model, left, is_compacting };
        busy.check()?;
        busy.compare()
    }

    /// Lets history go by age in a copy, by any clock: what the rule keeps is there, and everything
    /// when the times jump.
    fn age(&mut self) -> Outcome {
        let path = self.copied("aged")?;
        let options = options(&mut self.rng).existing(true);
        let store = must("opening a copy", options.open(&path))?;
        let objects = &self.model.objects;
        let versions = objects.values().flat_map(|object| &object.versions);
        let times: Vec<Time> = versions.map(|version| version.header.time).collect();
        let some = times[self.rng.random_range(0..times.len())];
        let spans = [Duration::ZERO, Duration::from_millis(1), 6 * DAY, 90 * DAY];
        let now = some.saturating_add(spans[self.rng.random_range(0..4)]);
        let ages = [Duration::ZERO, Duration::from_secs(1), DAY, 20 * DAY];
        let age = ages[self.rng.random_range(0..4)];
        let (newest, is_jump) = reference(&times, now);
        must("a rule", store.set_retention(None, Retention::Age(age)))?;
        let compacted = must("compacting a copy", store.compact_all(now, |_, _| {}))?;
        let from = if is_jump { Time::MIN } else { newest };
        equal("the time that ages count from", &Some(from), &compacted.ages_from)?;
        equal("whether the times jump", &is_jump, &compacted.jump.is_some())?;
        for (id, object) in objects {
            let first = object
                .as_of(from.saturating_sub(age).as_millis())
                .map_or(0, |kept| kept.header.seq);
            for version in object.versions.iter().filter(|version| version.header.seq >= first) {
                let found = must("a kept version", store.version(*id, version.header.seq))?;
                let found = found.ok_or("a kept version is there")?;
                equal("the version", &version.header, found.commit.header())?;
            }
        }
        let report = must("checking a copy", store.check(|_, _| {}))?;
        hold(format!("an aged store is sound: {:?}", report.damage), report.is_sound())
    }

    /// Lets all history go in a copy: what outboxes have not given stays, and all heads.
    fn trim(&mut self) -> Outcome {
        let path = self.copied("trimmed")?;
        let options = options(&mut self.rng).existing(true);
        let store = must("opening a copy", options.open(&path))?;
        must("a rule", store.set_retention(None, Retention::Versions(1)))?;
        must("compacting a copy", store.compact_all(Time::MIN, |_, _| {}))?;
        self.compare_outboxes(&store)?;
        for (id, object) in &self.model.objects {
            let head =
                must("a head", store.head(*id))?.ok_or("an object keeps its newest version")?;
            equal("the newest version", &object.newest().header, &head.head.header)?;
        }
        let report = must("checking a copy", store.check(|_, _| {}))?;
        hold(format!("a trimmed store is sound: {:?}", report.damage), report.is_sound())
    }
}

/// Returns the newest time of a version that is not after the clock's, and whether the times jump
/// before it, as by a wrong clock.
fn reference(times: &[Time], now: Time) -> (Time, bool) {
    let until = |last: Time| times.iter().copied().filter(|&time| time <= last).max();
    let newest = until(now).unwrap_or_default();
    let older = newest.checked_sub(7 * DAY).and_then(until);
    (newest, older.is_some_and(|older| older.saturating_add(21 * DAY) < newest))
}

/// A guard that lets the log's thread continue when it is dropped.
pub(crate) type Release = Sender<()>;

/// Appends a draft and keeps the log's thread from going on behind it.
pub(crate) fn hold_back(
    store: &Store,
    parts: &Ingredients,
    draft: &Draft,
) -> Result<(Release, Receiver<storage::Result<()>>), String> {
    let (release, released) = channel::<()>();
    let (sender, durable) = channel();
    let done = move |result| {
        drop(sender.send(result));
        // Ends when the other side is dropped.
        released.recv().unwrap_or_default();
    };
    must("appending", push(store, parts, draft, done))?;
    must("appending", must("hearing of an append", durable.recv())?)?;
    Ok((release, durable))
}
