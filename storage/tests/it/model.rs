//! Random work on several objects compared with a model that remembers everything, through
//! restarts, crashes and lost indexes.

use std::collections::BTreeMap;
use std::path::Path;

use continuant_storage::{Direction, LineageEntry, ObjectState, Options, Store};
use object::effects::decode_globals;
use object::hash::ObjectId;
use object::image::Image;
use object::memory::{Memory, page_count};
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, append, copy, small};

/// An object as the model has it.
struct Modelled {
    author: Author,
    records: Vec<Made>,
    /// Each version's memory and globals.
    states: Vec<(Vec<u8>, Vec<u64>)>,
    times: Vec<u64>,
    name: Option<String>,
}

impl Modelled {
    fn take(&mut self, made: Made) {
        if matches!(made, Made::Version { .. }) {
            self.states.push((flat(&self.author.image), self.author.globals.clone()));
            self.times.push(self.author.head.header.time.as_millis());
        }
        self.records.push(made);
    }
}

fn flat(image: &Image) -> Vec<u8> {
    (0..page_count(image.bytes_count())).flat_map(|index| *image.page(index)).collect()
}

#[derive(Default)]
struct Model {
    objects: BTreeMap<ObjectId, Modelled>,
}

impl Model {
    /// Makes one random append: new objects, or records of several.
    fn work(&mut self, store: &Store, rng: &mut StdRng) {
        let create = self.objects.is_empty() || rng.random_bool(0.1);
        if create {
            let (author, made) = Author::upgrading(rng.random());
            let id = author.head.id;
            let name = rng.random_bool(0.5).then(|| format!("object {}", rng.random::<u32>()));
            let names: Vec<_> = name.iter().map(|name| (name.as_str(), id)).collect();
            append(store, std::slice::from_ref(&made), &names).unwrap();
            let (records, states, times) = Default::default();
            let mut new = Modelled { author, records, states, times, name };
            new.take(made);
            self.objects.insert(id, new);
            return;
        }
        let mut batch = Vec::new();
        for _ in 0..rng.random_range(1..5) {
            let index = rng.random_range(0..self.objects.len());
            let object = self.objects.values_mut().nth(index).unwrap();
            let made = object.author.next();
            object.take(made.clone());
            batch.push(made);
        }
        append(store, &batch, &[]).unwrap();
    }

    fn check(&self, store: &Store, rng: &mut StdRng) {
        for (&id, object) in &self.objects {
            let author = &object.author;
            let ObjectState { head, image, globals, name, .. } = store.head(id).unwrap().unwrap();
            assert_eq!(head, author.head);
            assert_eq!(flat(&image), flat(&author.image));
            assert_eq!((&globals, &name), (&author.globals, &object.name));
            if let Some(name) = name {
                assert_eq!(store.find(&name).unwrap(), Some(id));
            }
            let seq = rng.random_range(0..object.states.len());
            check_version(store, id, object, seq as u64);
            check_as_of(store, id, object, rng);
            check_lineage(store, id, object, rng);
        }
        let infos = store.list(None, usize::MAX).unwrap();
        let listed: Vec<_> = infos.iter().map(|info| info.id).collect();
        assert_eq!(listed, self.objects.keys().copied().collect::<Vec<_>>());
        let half = store.list(Some(listed[listed.len() / 2]), 3).unwrap();
        assert_eq!(half, infos[listed.len() / 2 + 1..].iter().take(3).cloned().collect::<Vec<_>>());
        let mut wakes: Vec<_> = self
            .objects
            .iter()
            .filter_map(|(&id, object)| Some((object.author.head.header.wake?, id)))
            .collect();
        wakes.sort_unstable();
        assert_eq!(store.wakes_until(Time::MAX).unwrap(), wakes);
        let report = store.check(|_, _| {}).unwrap();
        assert!(report.is_sound(), "{:?}", report.damage);
        assert_eq!(report.object_count, self.objects.len() as u64);
    }
}

fn check_version(store: &Store, id: ObjectId, object: &Modelled, seq: u64) {
    let version = store.version(id, seq).unwrap().unwrap();
    let (memory, globals) = &object.states[seq as usize];
    assert_eq!((version.commit.header().seq, &version.globals), (seq, globals));
    assert!(flat(&version.image) == *memory, "memory of version {seq}");
    if let Some(bytes) = version.commit.globals() {
        assert_eq!(&decode_globals(bytes).unwrap(), globals);
    }
    let count = object.states.len() as u64;
    assert!(
        store.version(id, count).unwrap().is_none() && store.head_at(id, count).unwrap().is_none()
    );
    let then = store.head_at(id, seq).unwrap().unwrap();
    assert_eq!((&*then.head.header, &then.globals), (version.commit.header(), globals));
    assert!(flat(&then.image) == *memory, "memory of the head at {seq}");
    assert_eq!(
        (then.head.hash, then.head.created),
        (version.commit.hash(), Time::from_millis(object.times[0]))
    );
    assert_eq!(then.head.ledger.hash(), then.head.header.ledger);
    if let Some(next) = store.version(id, seq + 1).unwrap() {
        assert_eq!(then.head.spine.next_jump(), next.commit.header().jump);
    }
}

fn check_as_of(store: &Store, id: ObjectId, object: &Modelled, rng: &mut StdRng) {
    let (first, last) = (object.times[0], object.times[object.times.len() - 1]);
    let time = rng.random_range(first - 1..=last + 1);
    let expected = object.times.iter().rposition(|&at| at <= time);
    let found = store
        .as_of(id, Time::from_millis(time))
        .unwrap()
        .map(|found| found.commit.header().seq as usize);
    assert_eq!(found, expected);
}

fn check_lineage(store: &Store, id: ObjectId, object: &Modelled, rng: &mut StdRng) {
    let expected = object.records.iter();
    let found: Vec<_> = store.lineage(id).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), expected.len());
    for (made, entry) in expected.zip(&found) {
        match (made, entry) {
            (Made::Version { bytes, .. }, LineageEntry::Commit(stored)) => {
                let mut found = Vec::new();
                stored.commit().encode_into(&mut found);
                assert!(*bytes == found);
            }
            (Made::Refusal(made), LineageEntry::Refusal(stored)) => assert_eq!(made, stored),
            _ => panic!("{made:?} is not {entry:?}"),
        }
    }
    let count = object.states.len() as u64;
    let start = rng.random_range(0..count);
    let end = rng.random_range(start..count + 2);
    let seqs = |way| -> Vec<u64> {
        let versions = store.versions(id, start..end, way).unwrap();
        versions.map(|stored| stored.unwrap().header().seq).collect()
    };
    let expected: Vec<u64> = (start..end.min(count)).collect();
    assert_eq!(seqs(Direction::Forward), expected);
    assert_eq!(seqs(Direction::Backward), expected.into_iter().rev().collect::<Vec<_>>());
    let refusals = store.refusals(id).unwrap();
    let left = refusals.left();
    let mut refused: Vec<_> = refusals.map(Result::unwrap).collect();
    assert_eq!(left, refused.len() as u64);
    refused.reverse();
    let made = object.records.iter().filter_map(|made| match made {
        Made::Refusal(refusal) => Some(refusal.clone()),
        Made::Version { .. } => None,
    });
    assert_eq!(refused, made.collect::<Vec<_>>());
}

fn reopen(store: Store, options: Options, path: &Path, rng: &mut StdRng) -> Store {
    match rng.random_range(0..4) {
        0 => {
            store.close().unwrap();
            drop(store);
        }
        1 => {
            // A crash: the present content of the files is all that remains.
            let left = path.with_extension("crashed");
            copy(path, &left);
            drop(store);
            std::fs::remove_dir_all(path).unwrap();
            std::fs::rename(&left, path).unwrap();
        }
        2 => {
            drop(store);
            std::fs::remove_file(path.join("index.redb")).unwrap();
        }
        _ => {
            drop(store);
            Options::new().rebuild_index(path).unwrap();
        }
    }
    options.open(path).unwrap()
}

fn run(seed: u64, appends: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let options = small().recent_rows_max(rng.random_range(1..8));
    let mut store = options.clone().open(&path).unwrap();
    let mut model = Model::default();
    for _ in 0..appends {
        model.work(&store, &mut rng);
        if rng.random_bool(0.05) {
            store.checkpoint().unwrap();
        }
        if rng.random_bool(0.03) {
            store = reopen(store, options.clone(), &path, &mut rng);
            model.check(&store, &mut rng);
        }
    }
    model.check(&store, &mut rng);
}

#[test]
fn a_store_is_what_was_appended_to_it() {
    let first = rand::random::<u32>().into();
    for seed in first..first + 6 {
        println!("seed {seed}");
        run(seed, 120);
    }
}

#[test]
fn a_long_history_is_read_from_any_place() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, made) = Author::new(1);
    append(&store, &[made], &[]).unwrap();
    for _ in 0..15 {
        let made: Vec<_> = (0..100).map(|_| author.step()).collect();
        append(&store, &made, &[]).unwrap();
    }
    let id = author.head.id;
    for seq in [0, 1, 2, 255, 256, 257, 800, 1499, 1500] {
        assert_eq!(store.version(id, seq).unwrap().unwrap().commit.header().seq, seq);
    }
    let all = store.versions(id, 0..u64::MAX, Direction::Forward).unwrap();
    assert!(all.map(|stored| stored.unwrap().header().seq).eq(0..=1500));
}
