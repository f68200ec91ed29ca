//! A volume: files and names, the durable ones apart from those only written.
//!
//! It changes by operations, one after another, so a trace of them makes it again as it was at any
//! point. It knows no threads, no handles and no faults.
//!
//! Invariant: durable bytes change when a file is synced, durable names when a directory is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::Content;

/// The id of a file, independent of its names.
pub(crate) type FileId = u64;

/// Names, by path.
pub(crate) type Names = BTreeMap<PathBuf, Node>;

/// The target of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    Directory,
    File(FileId),
}

/// An operation on a volume.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A name changes, and its target may be new.
    Name(NameChange),
    SyncDirectory(PathBuf),
    /// Bytes or the length of a file change.
    File(FileId, Change),
    Sync(FileId),
    DropCache(FileId),
    Mark(Mark),
}

/// An entry in a trace that does not change the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// The store was opened, or came through a failure that it need not end with.
    Well,
    /// The store acknowledged all up to the frame with this number.
    Acknowledged(usize),
    /// The store said at its end that all up to the frame with this number is durable.
    Durable(usize),
    /// An operation was made to fail.
    Failed,
    /// There was no room for one.
    Full,
    /// A compaction came through a full disk: its pack was not made.
    Room,
}

/// A change of names; durable once the directory of the names is synced.
#[derive(Clone, Debug)]
pub(crate) enum NameChange {
    Create(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// A change of a file; durable once the file is synced.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLength(u64),
    Allocate(u64),
}

/// A file of a volume.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// The content that reads see: the durable bytes, and those written since, durable later or
    /// not.
    pub(super) cached: Content,
    pub(super) durable: Content,
    /// The changes that the next sync makes durable, in order.
    pub(super) pending: Vec<Change>,
}

/// The content of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(super) files: BTreeMap<FileId, File>,
    names: Names,
    pub(super) durable_names: Names,
    pub(super) pending_names: Vec<NameChange>,
}

impl Volume {
    /// An empty disk.
    pub(crate) fn new() -> Volume {
        let names = Names::from([(PathBuf::from("/"), Node::Directory)]);
        Volume::of(names, BTreeMap::new())
    }

    /// A disk on which everything is durable.
    pub(super) fn of(names: Names, files: BTreeMap<FileId, File>) -> Volume {
        Volume { files, durable_names: names.clone(), names, pending_names: Vec::new() }
    }

    /// Returns whether a power cut would lose nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending_names.is_empty() && self.files.values().all(|file| file.pending.is_empty())
    }

    /// Returns the target of a name.
    pub(crate) fn node(&self, path: &Path) -> Option<Node> {
        self.names.get(path).copied()
    }

    /// The names in a directory.
    pub(crate) fn list(&self, directory: &Path) -> Vec<PathBuf> {
        let inside = self.names.keys().filter(|path| path.parent() == Some(directory));
        inside.filter_map(|path| path.file_name()).map(PathBuf::from).collect()
    }

    /// All files that have a name.
    pub(crate) fn named_files(&self) -> impl Iterator<Item = (&Path, FileId)> {
        self.names.iter().filter_map(|(path, node)| match node {
            Node::File(file) => Some((path.as_path(), *file)),
            Node::Directory => None,
        })
    }

    /// Bytes that all files hold that have a name.
    pub(crate) fn bytes_held(&self) -> u64 {
        self.named_files().map(|(_, file)| self.content(file).bytes_held()).sum()
    }

    /// Returns the content of a file that reads see.
    pub(crate) fn content(&self, file: FileId) -> &Content {
        &self.files[&file].cached
    }

    /// An id that no file has.
    pub(crate) fn new_file(&self) -> FileId {
        self.files.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// Does one thing.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Name(change) => {
                if let NameChange::Create(_, Node::File(file)) = change {
                    self.files.entry(*file).or_default();
                }
                change.apply(&mut self.names);
                self.pending_names.push(change.clone());
            }
            Operation::SyncDirectory(path) => {
                let durable = &mut self.durable_names;
                self.pending_names.retain(|change| {
                    let is_inside = change.is_in(path);
                    if is_inside {
                        change.apply(durable);
                    }
                    !is_inside
                });
            }
            Operation::File(file, change) => {
                let file = self.file(*file);
                change.apply(&mut file.cached);
                file.pending.push(change.clone());
            }
            Operation::Sync(file) => self.file(*file).sync(),
            Operation::DropCache(file) => self.file(*file).drop_cache(),
            Operation::Mark(_) => {}
        }
    }

    pub(super) fn file(&mut self, file: FileId) -> &mut File {
        self.files.get_mut(&file).expect("the file was created")
    }

    /// Writes all that is cached, as a machine does that is shut down.
    pub(crate) fn settle(&mut self) {
        self.files.values_mut().for_each(File::sync);
        self.files.values_mut().for_each(File::drop_cache);
        self.durable_names = self.names.clone();
        self.pending_names.clear();
    }
}

impl File {
    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    fn drop_cache(&mut self) {
        self.cached = self.durable.clone();
        for change in &self.pending {
            change.apply(&mut self.cached);
        }
    }
}

impl Operation {
    /// Takes it into a hash.
    pub(super) fn feed(&self, hasher: &mut blake3::Hasher) {
        match self {
            Operation::File(file, Change::Write { offset, bytes }) => {
                hasher.update(&[0]).update(&file.to_le_bytes()).update(&offset.to_le_bytes());
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
            }
            other => {
                let text = format!("{other:?}");
                hasher.update(&[1]).update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Create(path, node) => drop(names.insert(path.clone(), *node)),
            NameChange::Rename(from, to) => {
                let node = names.remove(from).expect("what is renamed is there");
                names.insert(to.clone(), node);
            }
            NameChange::Remove(path) => drop(names.remove(path)),
        }
    }

    /// The names that it changes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let (one, other) = match self {
            NameChange::Create(path, _) | NameChange::Remove(path) => (path, None),
            NameChange::Rename(from, to) => (from, Some(to)),
        };
        std::iter::once(one).chain(other)
    }

    fn is_in(&self, directory: &Path) -> bool {
        self.paths().all(|path| path.parent() == Some(directory))
    }
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Change::Write { offset, bytes } => content.write(bytes, *offset),
            Change::SetLength(length) => content.set_length(*length),
            Change::Allocate(length) => content.allocate(*length),
        }
    }

    /// The length of a file after it.
    pub(super) fn length_after(&self, before: u64) -> u64 {
        match self {
            Change::Write { offset, bytes } => before.max(offset + bytes.len() as u64),
            Change::SetLength(length) => *length,
            Change::Allocate(length) => before.max(*length),
        }
    }
}
