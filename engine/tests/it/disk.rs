//! A disk in memory whose log syncs wait or fail when a test says so, and which can show what a
//! power cut would leave.
//!
//! Only a sync makes bytes and lengths durable; names are durable at once. It holds no test and
//! does not know the content of files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use continuant::storage::disk::{Disk, DiskFile};

/// A disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldDisk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// None are directories.
    nodes: BTreeMap<PathBuf, Option<Arc<Mutex<Content>>>>,
    syncs: Syncs,
    /// Syncs of the log that wait.
    waiting: usize,
    /// Syncs of the log that failed.
    failed: usize,
}

/// The behaviour of the log's syncs.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Syncs {
    #[default]
    Succeed,
    Wait,
    Fail,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
struct HeldFile {
    disk: HeldDisk,
    content: Arc<Mutex<Content>>,
    of_log: bool,
}

impl HeldDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn set(&self, syncs: Syncs) {
        self.state().syncs = syncs;
        self.0.changed.notify_all();
    }

    /// Syncs of the log wait from now on.
    pub(crate) fn hold(&self) {
        self.set(Syncs::Wait);
    }

    /// Lets waiting syncs, and all later ones, succeed.
    pub(crate) fn release(&self) {
        self.set(Syncs::Succeed);
    }

    /// Lets waiting syncs, and all later ones, fail.
    pub(crate) fn fail(&self) {
        self.set(Syncs::Fail);
    }

    /// Waits until a sync waits.
    pub(crate) fn wait_for_a_sync(&self) {
        drop(self.0.changed.wait_while(self.state(), |state| state.waiting == 0).unwrap());
    }

    /// Syncs that failed.
    pub(crate) fn failed_count(&self) -> usize {
        self.state().failed
    }

    /// Returns another disk, with the content that a power cut now would leave of this one.
    pub(crate) fn after_a_power_cut(&self) -> HeldDisk {
        let left = |content: &Arc<Mutex<Content>>| {
            let durable = content.lock().unwrap().durable.clone();
            Arc::new(Mutex::new(Content { bytes: durable.clone(), durable }))
        };
        let nodes = self.state().nodes.clone();
        let nodes = nodes.into_iter().map(|(path, node)| (path, node.as_ref().map(left)));
        let disk = HeldDisk::default();
        disk.state().nodes = nodes.collect();
        disk
    }

    fn file(&self, path: &Path, content: &Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        // A segment may be made under another name in the same directory.
        let of_log = path.parent().and_then(Path::file_name) == Some(OsStr::new("log"));
        Arc::new(HeldFile { disk: self.clone(), content: Arc::clone(content), of_log })
    }
}

impl Disk for HeldDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.state().nodes.get(path) {
            Some(Some(content)) => Ok(self.file(path, content)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let node = state.nodes.entry(path.into()).or_insert_with(|| Some(Arc::default()));
        Ok(self.file(path, node.as_ref().unwrap()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.nodes.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.nodes.insert(to.into(), node);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().nodes.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(path.parent().is_none() || self.state().nodes.contains_key(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        let inside = state.nodes.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.map(|path| path.file_name().unwrap().into()).collect())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.state().nodes.entry(path.into()).or_insert(None);
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        self.open(path)?.length()
    }
}

impl DiskFile for HeldFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock().unwrap();
        let rest = content.bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut content = self.content.lock().unwrap();
        let end = offset as usize + bytes.len();
        if content.bytes.len() < end {
            content.bytes.resize(end, 0);
        }
        content.bytes[offset as usize..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().bytes.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.content.lock().unwrap().bytes.resize(length as usize, 0);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut content = self.content.lock().unwrap();
        let length = content.bytes.len().max(length as usize);
        content.bytes.resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.of_log {
            let mut state = self.disk.state();
            state.waiting += 1;
            self.disk.0.changed.notify_all();
            let held = |state: &mut State| state.syncs == Syncs::Wait;
            state = self.disk.0.changed.wait_while(state, held).unwrap();
            state.waiting -= 1;
            if state.syncs == Syncs::Fail {
                state.failed += 1;
                return Err(io::Error::other("the disk is broken"));
            }
        }
        let mut content = self.content.lock().unwrap();
        content.durable = content.bytes.clone();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn drop_cache(&self) {}
}
