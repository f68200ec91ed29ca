//! The model of a store: every object a list of its appended records, with every version's memory
//! as a map of pages.
//!
//! It shares no code with the store except the decoding of commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use object::commit::Commit;
use object::effects::{Effects, decode_globals};
use object::hash::{BaseHash, ObjectId, RefusalHash, VersionHash};
use object::header::{Header, Kind};
use object::image::BaseImage;
use object::ledger::Ledger;
use object::memory::{Memory, Page, page_count};
use object::refusal::Refusal;
use object::secret::Secret;
use object::time::Time;

use super::Draft;
use super::leaves::Leaves;
use crate::generate::lineage::Made;

/// A version in the model.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) header: Header,
    pub(crate) bytes: Arc<Vec<u8>>,
    /// The base image of its code.
    pub(crate) base: BaseHash,
    /// The pages that the object changed since its memory began from that.
    pub(crate) pages: BTreeMap<u32, Arc<Page>>,
    /// The globals, once the object changed them since then.
    pub(crate) globals: Option<Vec<u64>>,
}

/// An entry of a lineage.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few of them")]
pub(crate) enum Entry {
    Version(usize),
    Refusal(Refusal),
}

/// An object in the model.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: Option<String>,
    pub(crate) versions: Vec<Version>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) ledger: Option<Arc<Ledger>>,
    pub(crate) secret: Secret,
}

/// An object, and how long it had a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) object: ObjectId,
    pub(crate) from: Time,
    pub(crate) until: Option<Time>,
}

/// All objects of a store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) objects: BTreeMap<ObjectId, Object>,
    pub(crate) names: BTreeMap<String, ObjectId>,
    /// The objects that had each name, oldest first.
    pub(crate) holdings: BTreeMap<String, Vec<Holding>>,
    /// The outputs of versions, in the order of appending.
    pub(crate) outputs: Vec<(VersionHash, u32)>,
    pub(crate) leaves: Leaves,
}

impl Object {
    pub(crate) fn newest(&self) -> &Version {
        self.versions.last().expect("an object has a version")
    }

    /// The refusals, oldest first.
    pub(crate) fn refusals(&self) -> impl DoubleEndedIterator<Item = &Refusal> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Refusal(refusal) => Some(refusal),
            Entry::Version(_) => None,
        })
    }

    pub(crate) fn last_refusal(&self) -> Option<RefusalHash> {
        self.refusals().next_back().map(Refusal::hash)
    }

    /// The secret from the version behind the newest on.
    pub(crate) fn next_secret(&self) -> Option<Secret> {
        self.secret.since(self.newest().header.seq + 1).ok()
    }

    /// Adds the leaves of its import.
    fn adopt(&self, leaves: &mut Leaves) {
        let refusals: Vec<RefusalHash> = self.refusals().map(Refusal::hash).collect();
        leaves.adopt(&self.newest().header, &refusals);
    }

    /// Returns whether the newest version is a deletion.
    pub(crate) fn is_deleted(&self) -> bool {
        self.newest().header.kind == Kind::Delete
    }

    /// The newest version that is not later than `time`.
    pub(crate) fn as_of(&self, time: u64) -> Option<&Version> {
        self.versions.iter().rfind(|version| version.header.time <= Time::from_millis(time))
    }
}

impl Version {
    /// The whole memory, over its base.
    pub(crate) fn memory(&self, base: &BaseImage) -> Vec<u8> {
        let count = page_count(self.header.memory_bytes);
        let mut memory = vec![0; self.header.memory_bytes as usize];
        for (index, bytes) in (0..count).zip(memory.chunks_mut(4096)) {
            let page = self.pages.get(&index).map(|page| &**page);
            bytes.copy_from_slice(page.unwrap_or_else(|| base.page(index)));
        }
        memory
    }
}

impl Model {
    /// Applies an append.
    pub(crate) fn apply(&mut self, draft: &Draft) {
        for made in &draft.made {
            self.leaves.add(made);
            match made {
                Made::Version { bytes, ledger, base, secret, before: _ } => {
                    self.version(bytes, ledger.as_ref(), *base, secret.as_ref());
                }
                Made::Refusal(refusal) => {
                    let object = self.objects.get_mut(&refusal.object);
                    let object = object.expect("a refusal is of an object");
                    object.entries.push(Entry::Refusal(refusal.clone()));
                }
            }
        }
        for (name, id) in &draft.names {
            let time = self.objects[id].newest().header.time;
            self.bind(name, *id, time);
        }
    }

    /// Applies the import of an object whose records here and in the draft are its lineage.
    pub(crate) fn import(&mut self, id: ObjectId, draft: &Draft) {
        let leaves = self.leaves.clone();
        self.apply(draft);
        self.leaves = leaves;
        self.objects[&id].adopt(&mut self.leaves);
    }

    /// Gives a free name to an object without one.
    pub(crate) fn bind(&mut self, name: &str, object: ObjectId, time: Time) {
        let holding = Holding { object, from: time, until: None };
        self.holdings.entry(name.to_string()).or_default().push(holding);
        self.names.insert(name.to_string(), object);
        let object = self.objects.get_mut(&object).expect("a name is of an object");
        object.name = Some(name.to_string());
    }

    /// Takes a name from the object that has it.
    pub(crate) fn unbind(&mut self, name: &str, time: Time) {
        let object = self.names.remove(name).expect("an object has the name");
        self.objects.get_mut(&object).expect("a name is of an object").name = None;
        let holdings = self.holdings.get_mut(name).expect("an object got the name");
        holdings.last_mut().expect("an object got the name").until = Some(time);
    }

    fn version(
        &mut self,
        bytes: &[u8],
        ledger: Option<&Arc<Ledger>>,
        base: Option<BaseHash>,
        secret: Option<&Secret>,
    ) {
        let commit = Commit::decode(bytes).expect("it was encoded");
        let effects = Effects::decode(commit.effects).expect("they were encoded");
        let hash = commit.header.hash();
        self.outputs.extend((0..effects.outputs.len() as u32).map(|index| (hash, index)));
        let id = commit.header.object_id();
        let object = self.objects.entry(id).or_insert_with(|| Object {
            name: None,
            versions: Vec::new(),
            entries: Vec::new(),
            ledger: None,
            secret: secret.expect("a genesis has a secret").clone(),
        });
        // A version that names a base image begins from it.
        let last = object.versions.last().filter(|_| base.is_none());
        let base = base.or(last.map(|version| version.base)).expect("a genesis has a base");
        let mut pages = last.map_or_else(BTreeMap::new, |version| version.pages.clone());
        pages.extend(commit.pages.iter().map(|(index, page)| (*index, Arc::new(**page))));
        let mut globals = last.and_then(|version| version.globals.clone());
        if let Some(changed) = commit.globals {
            globals = Some(decode_globals(changed).expect("they were encoded"));
        }
        let bytes = Arc::new(bytes.to_vec());
        object.versions.push(Version { header: commit.header, bytes, base, pages, globals });
        object.entries.push(Entry::Version(object.versions.len() - 1));
        object.ledger = ledger.cloned().or(object.ledger.take());
        let freed = object.name.clone().filter(|_| object.is_deleted());
        let time = object.newest().header.time;
        freed.iter().for_each(|name| self.unbind(name, time));
    }

    /// The model of a store that was given one object, which loses its name on the way.
    pub(crate) fn only(&self, id: ObjectId) -> Model {
        let mut object = self.objects[&id].clone();
        object.name = None;
        let mut leaves = Leaves::default();
        object.adopt(&mut leaves);
        Model { objects: BTreeMap::from([(id, object)]), leaves, ..Model::default() }
    }
}
