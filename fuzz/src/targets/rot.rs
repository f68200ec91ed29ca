//! Bytes of a closed database change at rest: opening it, reading it or checking it reports that,
//! and reads return only appended content.
//!
//! A seed chooses a database and one in `SLICES` of the bytes of its log, its marker, its index and
//! a capsule; that many seeds in a row change every byte in three ways. Older copies of a page, of
//! a segment or of the whole index also replace the present ones; only a check has to notice an old
//! page of the index.

mod served;

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, Once};

use continuant::Time;
use rand::RngExt;
use storage::{AcceptedLoss, CapsuleReader, ErrorKind, Store};

use self::served::served;
use crate::disk::SimulatedDisk;
use crate::disk::volume::{Change, FileId, NameChange, Node, Operation, Volume};
use crate::generate::source;
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::targets::storage_model::compare;
use crate::targets::storage_model::model::Model;
use crate::targets::storage_model::patient;
use crate::threads::watch_threads;
use crate::workload::{PATH, Threads, Work};

/// Seeds that share a database.
pub(crate) const SLICES: u64 = 256;
const FLIPS: [u8; 3] = [0x01, 0x80, 0xff];
const PAGE_BYTES: usize = 4096;

/// A closed database, and its content.
struct Database {
    volume: Volume,
    /// The disk as it was at times before it was closed.
    earlier: Vec<Volume>,
    model: Model,
}

/// The finding about a damaged database.
enum Finding {
    /// The database cannot be opened.
    Refused(storage::Error),
    /// The database opens, and this is the first finding of a check.
    Found(storage::Error),
    /// The database is as sound as the undamaged one, and serves everything.
    Nothing,
}

/// The way in which a database is examined.
#[derive(Clone, Copy)]
enum Look {
    /// Reads must return only appended content; then it is checked.
    Serve,
    /// A check comes first; content that it finds sound must be as appended.
    Check,
}

thread_local! {
    /// True while panics inside the index's library are silent: the store turns them into errors,
    /// and there would be thousands.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    watch_threads();
    quieten();
    let database = Database::new(seed / SLICES)?;
    let slice = (seed % SLICES) as usize;
    for (path, file) in database.volume.named_files() {
        let bytes = database.volume.content(file).bytes();
        for at in (slice..bytes.len()).step_by(SLICES as usize) {
            if is_unused(path, &bytes, at) {
                continue;
            }
            for flip in FLIPS {
                let outcome = database.flip(path, file, at, bytes[at] ^ flip);
                let about = |problem| format!("{} {at} ^ {flip:#x}: {problem}", path.display());
                outcome.map_err(about)?;
                tally.add("changed bytes", 1);
            }
        }
    }
    if slice == 0 {
        database.unmarked(tally)?;
    }
    database.capsules(slice, tally)?;
    database.stale(seed, tally)
}

/// Returns whether a byte is in a page of the index that was never written: testing one of them is
/// enough.
fn is_unused(path: &Path, bytes: &[u8], at: usize) -> bool {
    let start = at / PAGE_BYTES * PAGE_BYTES;
    let page = &bytes[start..bytes.len().min(start + PAGE_BYTES)];
    is_index(path) && at >= start + SLICES as usize && page.iter().all(|&byte| byte == 0)
}

fn is_index(path: &Path) -> bool {
    path.ends_with("index.redb")
}

impl Database {
    fn new(number: u64) -> Result<Database, String> {
        let mut rng = source(number);
        let work = Work::new(&mut rng, 3, Threads::InTurn)?;
        let disk = SimulatedDisk::traced(Volume::new());
        must("the work", work.run(&disk))?;
        let (mut volume, mut earlier) = (Volume::new(), Vec::new());
        for operation in disk.take_trace() {
            volume.apply(&operation);
            if matches!(operation, Operation::Sync(_)) {
                earlier.push(volume.clone());
            }
        }
        volume.settle();
        let model = work.states.last().expect("work has a state").model.clone();
        Ok(Database { volume, earlier, model })
    }

    /// The disk with other bytes in one of the files.
    fn with(&self, file: FileId, offset: usize, bytes: &[u8]) -> Volume {
        let mut volume = self.volume.clone();
        let change = Change::Write { offset: offset as u64, bytes: Arc::from(bytes) };
        volume.apply(&Operation::File(file, change));
        volume
    }

    /// Returns the finding about the database on a disk, examined in this way.
    fn find(&self, volume: Volume, look: Look) -> Result<Finding, String> {
        let disk = SimulatedDisk::new(volume);
        let store = match patient().existing(true).disk(Arc::new(disk.clone())).open(PATH) {
            Ok(store) => store,
            Err(error) => return Ok(Finding::Refused(error)),
        };
        let finding = self.look(&store, look);
        disk.kill();
        finding
    }

    fn look(&self, store: &Store, look: Look) -> Result<Finding, String> {
        let early = match look {
            Look::Serve => Some(served(store, &self.model)?),
            Look::Check => None,
        };
        // Damage is a finding, and does not end the check.
        let report = must("checking", store.check(|_, _| {}))?;
        if let Some(damage) = report.damage.first() {
            return Ok(Finding::Found(damage.error().clone()));
        }
        let all = early.map_or_else(|| served(store, &self.model), Ok)?;
        hold("what is sound is served", all).map(|()| Finding::Nothing)
    }

    /// Repairs a database whose log changed: content that the index knew is there, or the loss is
    /// reported.
    fn repaired(&self, volume: Volume) -> Outcome {
        let disk = Arc::new(SimulatedDisk::new(volume.clone()));
        let error = match patient().disk(disk).repair(PATH, None, |_, _| {}) {
            Ok(_) => return Err("what is gone is told".to_string()),
            Err(error) => error,
        };
        let ErrorKind::Lost(lost) = error.kind() else {
            let is_told =
                matches!(error.kind(), ErrorKind::Damaged { .. } | ErrorKind::NewerFormat { .. });
            return hold(format!("it is told as what it is: {error:?}"), is_told);
        };
        let accepted = Some(AcceptedLoss { token: lost.token, time: Time::from_millis(7) });
        let disk = Arc::new(SimulatedDisk::new(volume));
        must("accepting it", patient().disk(disk.clone()).repair(PATH, accepted, |_, _| {}))?;
        let store = must("opening", patient().existing(true).disk(disk).open(PATH))?;
        equal("losses on record", &1, &store.losses().len())?;
        let report = must("checking", store.check(|_, _| {}))?;
        equal("damage", &0, &report.damage_count)
    }

    fn flip(&self, path: &Path, file: FileId, at: usize, byte: u8) -> Outcome {
        let finding = self.find(self.with(file, at, &[byte]), Look::Serve)?;
        if is_index(path) {
            return self.index(finding);
        }
        let error = match finding {
            Finding::Refused(error) | Finding::Found(error) => error,
            Finding::Nothing => return Err("it is found".to_string()),
        };
        let name = path.strip_prefix(PATH).expect("files are in the database");
        if name.starts_with("log") && at.is_multiple_of(64) {
            self.repaired(self.with(file, at, &[byte]))?;
        }
        let is_found = match error.kind() {
            ErrorKind::Damaged { file, offset, .. } => {
                Path::new(file) == name && *offset <= at as u64
            }
            ErrorKind::NewerFormat { .. } => (8..16).contains(&at),
            _ => false,
        };
        hold(format!("it is found where it is: {error:?}"), is_found)
    }

    /// Requires that a marker that is gone, or cut at any place, is missed, and made again.
    fn unmarked(&self, tally: &Tally) -> Outcome {
        let marker = Path::new(PATH).join("continuant.db");
        let Some(Node::File(file)) = self.volume.node(&marker) else {
            return Err("it has a marker".to_string());
        };
        let bytes = self.volume.content(file).bytes();
        let cuts = (0..bytes.len()).map(|at| Operation::File(file, Change::SetLength(at as u64)));
        let gone = Operation::Name(NameChange::Remove(marker));
        for harm in cuts.chain([gone]) {
            let mut left = self.volume.clone();
            left.apply(&harm);
            left.settle();
            match self.find(left.clone(), Look::Serve)? {
                Finding::Refused(error) => {
                    let is_told = match error.kind() {
                        ErrorKind::MarkerLost { is_backup } => !is_backup,
                        ErrorKind::Damaged { file, .. } => file == "continuant.db",
                        _ => false,
                    };
                    hold(format!("{harm:?} is told as it is: {error:?}"), is_told)?;
                }
                _ => return Err(format!("{harm:?} is found")),
            }
            let disk = Arc::new(SimulatedDisk::new(left));
            let repaired =
                must("a repair", patient().disk(disk.clone()).repair(PATH, None, |_, _| {}))?;
            hold("the marker is made again", repaired.marker_made)?;
            let finding = self.find(disk.volume(), Look::Check)?;
            hold(format!("{harm:?} is mended"), matches!(finding, Finding::Nothing))?;
            tally.add("markers that were lost or cut", 1);
        }
        Ok(())
    }

    /// Requires that damage of the index is called so, or has no effect.
    fn index(&self, finding: Finding) -> Outcome {
        match finding {
            Finding::Nothing => Ok(()),
            Finding::Refused(error) | Finding::Found(error) => {
                let is_found = matches!(error.kind(), ErrorKind::IndexDamaged(_));
                hold(format!("it is found in the index: {error:?}"), is_found)
            }
        }
    }

    /// Changes bytes of capsules of the objects.
    fn capsules(&self, slice: usize, tally: &Tally) -> Outcome {
        let disk = Arc::new(SimulatedDisk::new(self.volume.clone()));
        let store = must("opening", patient().disk(disk).open(PATH))?;
        for id in self.model.objects.keys() {
            let mut bytes = Vec::new();
            must("exporting", store.export(*id, &mut bytes, |_, _| {}))?;
            for at in (slice..bytes.len()).step_by(SLICES as usize) {
                for flip in FLIPS {
                    bytes[at] ^= flip;
                    let kind = read(&bytes).err();
                    let is_found =
                        matches!(kind, Some(ErrorKind::Capsule { .. } | ErrorKind::Object(_)));
                    hold(format!("byte {at} ^ {flip:#x} is found: {kind:?}"), is_found)?;
                    bytes[at] ^= flip;
                    tally.add("changed bytes", 1);
                }
            }
        }
        Ok(())
    }

    /// Puts older copies in place of the present files.
    fn stale(&self, seed: u64, tally: &Tally) -> Outcome {
        let mut rng = source(seed);
        for _ in 0..20 {
            let earlier = &self.earlier[rng.random_range(0..self.earlier.len())];
            for (path, file) in self.volume.named_files() {
                if earlier.node(path) != self.volume.node(path) {
                    continue;
                }
                let (old, new) = (earlier.content(file).bytes(), self.volume.content(file).bytes());
                let about = |problem| format!("a stale {}: {problem}", path.display());
                self.stale_file(path, file, &old, &new).map_err(about)?;
                let at = rng.random_range(0..new.len().div_ceil(PAGE_BYTES)) * PAGE_BYTES;
                let page = at..new.len().min(at + PAGE_BYTES);
                if let Some(old) = old.get(page.clone()).filter(|old| **old != new[page]) {
                    let about =
                        |problem| format!("stale bytes at {at}: {}: {problem}", path.display());
                    self.stale_page(path, file, at, old).map_err(about)?;
                    tally.add("stale copies", 1);
                }
            }
        }
        Ok(())
    }

    fn stale_file(&self, path: &Path, file: FileId, old: &[u8], new: &[u8]) -> Outcome {
        if filled(old) == filled(new) {
            return Ok(());
        }
        let mut volume = self.volume.clone();
        for change in [Change::SetLength(0), Change::Write { offset: 0, bytes: Arc::from(old) }] {
            volume.apply(&Operation::File(file, change));
        }
        if !is_index(path) {
            return self.reported(self.find(volume, Look::Serve)?);
        }
        // An index from earlier is brought up to the log.
        let disk = Arc::new(SimulatedDisk::new(volume));
        let store = must("opening", patient().disk(disk).open(PATH))?;
        compare::heads(&store, &self.model)?;
        let report = must("checking", store.check(|_, _| {}))?;
        equal("damage", &0, &report.damage_count)
    }

    fn stale_page(&self, path: &Path, file: FileId, at: usize, old: &[u8]) -> Outcome {
        let volume = self.with(file, at, old);
        match is_index(path) {
            // Old rows are whole rows: that they do not go with the log may be said of either.
            true => match self.find(volume, Look::Check)? {
                Finding::Refused(error) | Finding::Found(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Damaged { .. } | ErrorKind::LogBehind { .. }
                    ) =>
                {
                    Ok(())
                }
                finding => self.index(finding),
            },
            false => self.reported(self.find(volume, Look::Serve)?),
        }
    }

    fn reported(&self, finding: Finding) -> Outcome {
        match finding {
            Finding::Refused(error) | Finding::Found(error) => {
                let is_found =
                    matches!(error.kind(), ErrorKind::Damaged { .. } | ErrorKind::LogBehind { .. });
                hold(format!("it is found in the log: {error:?}"), is_found)
            }
            Finding::Nothing => Err("it is found".to_string()),
        }
    }
}

/// A file without the room at its end, which is zeros.
fn filled(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

fn read(bytes: &[u8]) -> Result<(), ErrorKind> {
    let read = || {
        let mut reader = CapsuleReader::new(bytes)?;
        while reader.next()?.is_some() {}
        Ok(())
    };
    read().map_err(|error: storage::Error| error.kind().clone())
}

fn quieten() {
    static ONCE: Once = Once::new();
    QUIET.set(true);
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_of_library = panic.location().is_some_and(|at| at.file().contains("redb"));
            if !(QUIET.get() && is_of_library) {
                usual(panic);
            }
        }));
    });
}
