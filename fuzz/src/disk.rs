//! A simulated disk in memory that fails, tears and forgets as disks do: for stores, in place of
//! the file system.
//!
//! ```text
//!   store --> SimulatedDisk --> Volume: durable | written --> cut: what a power cut leaves
//!                |     |
//!             faults  trace
//! ```
//!
//! It records all changes, so that the disk of any moment can be made again and its power cut then.
//! It does not know the content of files.
//!
//! Invariant: the trace, applied to the volume that the disk started with, gives the present
//! volume, as long as no sync was made to fail.

mod content;
mod cut;
pub(crate) mod fault;
pub(crate) mod volume;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use storage::disk::{Disk, DiskFile};

pub(crate) use self::cut::Leaves;
use self::fault::{Fault, Faults, Kind, Plan};
use self::volume::{Change, FileId, Mark, NameChange, Node, Operation, Volume};
use crate::generate::source;

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

struct State {
    volume: Volume,
    trace: Option<Vec<Operation>>,
    /// The hash of all changes to the disk, if it is hashed.
    digest: Option<blake3::Hasher>,
    faults: Faults,
    /// Bytes that all files together may hold.
    room: Option<u64>,
    /// The most that they held.
    held_max: u64,
    locked: HashSet<FileId>,
    /// The power is cut: nothing works any more.
    dead: bool,
    /// Syncs of this kind say that they did what they did not.
    lies: Option<Kind>,
    rng: StdRng,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    id: FileId,
    has_lock: AtomicBool,
}

impl SimulatedDisk {
    /// A disk that has what `volume` has.
    pub(crate) fn new(volume: Volume) -> SimulatedDisk {
        let (faults, locked) = Default::default();
        let (dead, lies, rng) = (false, None, source(0));
        let (trace, digest, room, held_max) = (None, None, None, 0);
        let state =
            State { volume, trace, digest, faults, room, held_max, locked, dead, lies, rng };
        SimulatedDisk(Arc::new(Mutex::new(state)))
    }

    /// A disk that records what changes it.
    pub(crate) fn traced(volume: Volume) -> SimulatedDisk {
        let disk = SimulatedDisk::new(volume);
        disk.state().trace = Some(Vec::new());
        disk
    }

    /// A disk that hashes what changes it.
    pub(crate) fn traced_by_hash(volume: Volume) -> SimulatedDisk {
        let disk = SimulatedDisk::new(volume);
        disk.state().digest = Some(blake3::Hasher::new());
        disk
    }

    /// The hash of what changed the disk so far.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let state = self.state();
        state.digest.as_ref().expect("the disk hashes").finalize().into()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it has the disk")
    }

    /// Returns the changes to the disk so far, and begins an empty trace.
    pub(crate) fn take_trace(&self) -> Vec<Operation> {
        self.state().trace.replace(Vec::new()).expect("the disk records")
    }

    /// Notes in the trace how far the workload is.
    pub(crate) fn mark(&self, what: Mark) {
        self.state().record(Operation::Mark(what));
    }

    /// Returns the present volume.
    pub(crate) fn volume(&self) -> Volume {
        self.state().volume.clone()
    }

    /// Ends the disk: stores that still have it open can do nothing.
    pub(crate) fn kill(&self) {
        self.state().dead = true;
    }

    /// Plans a fault, or none, and forgets what fired before.
    pub(crate) fn plan(&self, plan: Option<Plan>) {
        self.state().faults.plan(plan);
    }

    /// Makes syncs of this kind do nothing: no store can be right on such a disk.
    #[cfg(test)]
    pub(crate) fn lie(&self, kind: Kind) {
        self.state().lies = Some(kind);
    }

    /// Limits the bytes of all files together.
    pub(crate) fn limit(&self, room: u64) {
        self.state().room = Some(room);
    }

    /// The most bytes that all files held at a time while there was a limit.
    pub(crate) fn held_max(&self) -> u64 {
        self.state().held_max
    }

    /// Returns how often the planned fault fired.
    pub(crate) fn fired(&self) -> u64 {
        self.state().faults.fired()
    }

    fn open_file(&self, state: &State, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let id = state.file(path)?;
        let (disk, path, has_lock) = (self.clone(), path.to_path_buf(), AtomicBool::new(false));
        Ok(Arc::new(SimulatedFile { disk, path, id, has_lock }))
    }
}

impl State {
    fn record(&mut self, operation: Operation) {
        self.volume.apply(&operation);
        if let Some(digest) = &mut self.digest {
            operation.feed(digest);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(operation);
        }
    }

    /// The fault that an operation is to have, as an error unless it has done a part before.
    fn fault(&mut self, kind: Kind, path: &Path) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(io::Error::other("the power is cut"));
        }
        let fault = self.faults.next(kind, path);
        self.dead |= fault == Some(Fault::Cut);
        match fault {
            Some(Fault::Full) => self.record(Operation::Mark(Mark::Full)),
            Some(_) => self.record(Operation::Mark(Mark::Failed)),
            None => {}
        }
        match fault {
            Some(fault) if !matches!(kind, Kind::Write | Kind::Sync) => Err(fault.error()),
            fault => Ok(fault),
        }
    }

    /// Checks that there is room for a change of a file.
    fn has_room(&mut self, file: FileId, change: &Change) -> io::Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        let (from, to, is_request) = match change {
            Change::Write { offset, bytes } => (*offset, offset + bytes.len() as u64, false),
            Change::Allocate(length) => (0, *length, true),
            Change::SetLength(_) => return Ok(()),
        };
        let more = self.volume.content(file).bytes_to_hold(from, to);
        let held = self.volume.bytes_held() + more;
        if more == 0 || held <= room {
            self.held_max = self.held_max.max(held);
            return Ok(());
        }
        if !is_request {
            self.record(Operation::Mark(Mark::Full));
        }
        Err(Fault::Full.error())
    }

    fn file(&self, path: &Path) -> io::Result<FileId> {
        match self.volume.node(path) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn require_directory(&self, path: Option<&Path>) -> io::Result<()> {
        match path.and_then(|path| self.volume.node(path)) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedDisk")
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.fault(Kind::Look, path)?;
        self.open_file(&state, path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.fault(Kind::Name, path)?;
        state.require_directory(path.parent())?;
        if state.volume.node(path).is_none() {
            let node = Node::File(state.volume.new_file());
            state.record(Operation::Name(NameChange::Create(path.to_path_buf(), node)));
        }
        self.open_file(&state, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.fault(Kind::Name, to)?;
        state.file(from)?;
        assert_eq!(from.parent(), to.parent(), "files stay in their directory");
        let change = NameChange::Rename(from.to_path_buf(), to.to_path_buf());
        state.record(Operation::Name(change));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.fault(Kind::Name, path)?;
        state.file(path)?;
        state.record(Operation::Name(NameChange::Remove(path.to_path_buf())));
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.fault(Kind::Look, path)?;
        Ok(state.volume.node(path).is_some())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.state();
        state.fault(Kind::Look, directory)?;
        state.require_directory(Some(directory))?;
        Ok(state.volume.list(directory))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.fault(Kind::Name, path)?;
        state.require_directory(path.parent())?;
        if state.volume.node(path).is_none() {
            let change = NameChange::Create(path.to_path_buf(), Node::Directory);
            state.record(Operation::Name(change));
        }
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.fault(Kind::SyncDirectory, path)?;
        state.require_directory(Some(path))?;
        if state.lies != Some(Kind::SyncDirectory) {
            state.record(Operation::SyncDirectory(path.to_path_buf()));
        }
        Ok(())
    }

    fn bytes_held(&self, path: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.fault(Kind::Look, path)?;
        match state.volume.node(path) {
            Some(Node::Directory) => Ok(0),
            _ => Ok(state.volume.content(state.file(path)?).bytes_held()),
        }
    }
}

impl SimulatedFile {
    fn change(&self, kind: Kind, change: Change) -> io::Result<()> {
        let mut state = self.disk.state();
        state.fault(kind, &self.path)?;
        state.has_room(self.id, &change)?;
        state.record(Operation::File(self.id, change));
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.fault(Kind::Read, &self.path)?;
        Ok(state.volume.content(self.id).read(bytes, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let fault = state.fault(Kind::Write, &self.path)?;
        // A write that fails may have written a part.
        let count = match fault {
            None | Some(Fault::Cut) => bytes.len(),
            Some(Fault::Interrupted) => 0,
            Some(_) => bytes.len().div_ceil(2),
        };
        if count > 0 {
            let change = Change::Write { offset, bytes: Arc::from(&bytes[..count]) };
            state.has_room(self.id, &change)?;
            state.record(Operation::File(self.id, change));
        }
        match fault {
            None | Some(Fault::Short) => Ok(count),
            Some(fault) => Err(fault.error()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.fault(Kind::Look, &self.path)?;
        Ok(state.volume.content(self.id).length())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(Kind::Resize, Change::SetLength(length))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.change(Kind::Allocate, Change::Allocate(length))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let Some(fault) = state.fault(Kind::Sync, &self.path)? else {
            if state.lies != Some(Kind::Sync) {
                state.record(Operation::Sync(self.id));
            }
            return Ok(());
        };
        if fault == Fault::Cut {
            return Err(fault.error());
        }
        let State { volume, rng, .. } = &mut *state;
        volume.lose(self.id, rng);
        if fault == Fault::Evicted {
            volume.apply(&Operation::DropCache(self.id));
        }
        Err(fault.error())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.state();
        state.fault(Kind::Look, &self.path)?;
        let locked = state.locked.insert(self.id);
        self.has_lock.fetch_or(locked, Ordering::Relaxed);
        Ok(locked)
    }

    fn drop_cache(&self) {
        self.disk.state().record(Operation::DropCache(self.id));
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if self.has_lock.load(Ordering::Relaxed) {
            self.disk.state().locked.remove(&self.id);
        }
    }
}

impl fmt::Debug for SimulatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedFile({})", self.path.display())
    }
}
