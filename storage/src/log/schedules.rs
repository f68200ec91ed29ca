//! Schedules of the writer, compiled a second time with threads and locks whose order is drawn. In
//! each of many schedules frames become durable in their order, each waiting thread is answered
//! once and in time, and none waits for ever.
//!
//! The disk is one file that knows how far it was written and synced, and other threads run while
//! it does either. The proof holds if every access is in the order that all threads see.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::schedules::{prove, thread};
use parking_lot::Mutex as Plain;

use self::writer::{Sizes, Writer};
use crate::disk::file::{Disk, DiskFile};
use crate::error::position::Position;
use crate::error::{ErrorKind, Result};
use crate::log::segment::{Segments, Tail};
use crate::log::{file, segment};

#[expect(clippy::duplicate_mod, reason = "compiled a second time, with other locks")]
#[expect(dead_code, reason = "no schedule ends a segment before it is full")]
#[path = "writer.rs"]
mod writer;

/// The writer's locks and conditions, in drawn schedules.
mod sync {
    pub(crate) use ::schedules::{Condvar, Mutex, MutexGuard};
}

const ID: [u8; 16] = [7; 16];

/// A disk of one file; clones are the same.
#[derive(Clone, Debug, Default)]
struct OneFile(Arc<Plain<Bytes>>);

#[derive(Debug, Default)]
struct Bytes {
    /// The end of the written bytes.
    written: u64,
    /// The durable end.
    durable: u64,
    syncs: u64,
    /// The sync that fails.
    fails: Option<u64>,
    /// Threads in a write or a sync.
    busy: u32,
}

impl OneFile {
    /// Does something while others may come in, which is not to be beside another write or sync.
    fn alone<T>(&self, work: impl FnOnce(&mut Bytes) -> T) -> T {
        let before = std::mem::replace(&mut self.0.lock().busy, 1);
        assert_eq!(before, 0, "one thread at a time writes groups");
        thread::yield_now();
        let mut bytes = self.0.lock();
        bytes.busy = 0;
        work(&mut bytes)
    }
}

impl Disk for OneFile {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let is_segment = path.extension().is_some_and(|extension| extension == "log");
        if is_segment { Ok(Arc::new(self.clone())) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn bytes_held(&self, _: &Path) -> io::Result<u64> {
        self.length()
    }
}

impl DiskFile for OneFile {
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.alone(|file| {
            assert_eq!(file.written.max(file::HEADER_BYTES as u64), offset, "without a gap");
            file.written = offset + bytes.len() as u64;
        });
        Ok(bytes.len())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(CAPACITY)
    }

    fn set_length(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.alone(|file| {
            file.syncs += 1;
            if file.fails.is_some_and(|fails| file.syncs >= fails) {
                assert_eq!(file.fails, Some(file.syncs), "a sync is not tried again");
                return Err(io::Error::other("injected"));
            }
            file.durable = file.written;
            Ok(())
        })
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn drop_cache(&self) {}
}

/// Bytes that the segment has room for.
const CAPACITY: u64 = 1 << 20;

/// The way in which a thread waits for its frame.
#[derive(Clone, Copy)]
enum Wait {
    /// Commits itself, if nobody does.
    Commit,
    /// Leaves that to others, unless there is no committer.
    Durable,
    /// Asks for room, and then only that it can be read.
    Read,
}

/// A log that is written by threads of a schedule.
struct Stage {
    writer: Writer,
    segments: Segments,
    disk: OneFile,
    has_committer: bool,
    /// The ends of the frames that were pushed, by their numbers.
    ends: Plain<BTreeMap<u64, Position>>,
    told: Arc<Plain<Vec<Told>>>,
}

/// The answer to a frame, and the durable end at that time.
#[derive(Clone, Copy, Debug)]
struct Told {
    number: u64,
    is_durable: bool,
    durable: u64,
}

impl Stage {
    fn new(fails: Option<u64>, has_committer: bool) -> Arc<Stage> {
        let disk = OneFile::default();
        disk.0.lock().fails = fails;
        let segments = Segments::new(Arc::new(disk.clone()), PathBuf::from("/log"), ID);
        let tail = Tail::of_segment(segment::FIRST, segments.seal().first());
        // A frame is more than a group is to have, so that there are many groups.
        let segment_bytes = CAPACITY as u32;
        let sizes = Sizes { segment_bytes, group_bytes_max: 100, gather_frames_min: 1 };
        let writer = Writer::new(segments.seal(), tail, CAPACITY, sizes);
        let (ends, told) = Default::default();
        Arc::new(Stage { writer, segments, disk, has_committer, ends, told })
    }

    /// Pushes the frame of this number and waits; fails if it cannot become durable.
    fn append(&self, number: u64, wait: Wait) -> Result<()> {
        let own = (!self.has_committer).then_some(&self.segments);
        let (told, disk) = (Arc::clone(&self.told), self.disk.clone());
        let done = Box::new(move |result: Result<()>| {
            let (is_durable, durable) = (result.is_ok(), disk.0.lock().durable);
            told.lock().push(Told { number, is_durable, durable });
        });
        let body = vec![1; if number.is_multiple_of(2) { 40 } else { 90 }];
        let pushed = self.writer.push(&body, blake3::hash(&body), done);
        let tail = pushed.map_err(|(error, _)| error)?;
        self.ends.lock().insert(number, tail.end);
        let waited = match wait {
            Wait::Commit => self.writer.commit_until(&self.segments, tail.end),
            Wait::Durable => {
                self.writer.wake();
                self.writer.wait_durable(own, tail.end)
            }
            Wait::Read => {
                self.writer.wake();
                self.writer.wait_for_room(own)?;
                self.writer.wait_written(own, tail.last)?;
                let is_written = self.disk.0.lock().written >= u64::from(tail.end.offset());
                assert!(is_written, "who waited to read it can");
                return Ok(());
            }
        };
        let is_told = self.told.lock().iter().any(|told| told.number == number);
        let is_promised = matches!(wait, Wait::Commit) && waited.is_ok();
        assert!(is_told || !is_promised, "who commits comes back when all is told");
        let is_durable = self.disk.0.lock().durable >= u64::from(tail.end.offset());
        assert!(waited.is_err() || is_durable, "who waited for the disk has it");
        waited
    }

    /// Checks that each frame was answered once, in order, in time, and that none is durable after
    /// a failure; returns how many were pushed.
    fn check(&self) -> usize {
        let (told, ends) = (self.told.lock(), self.ends.lock());
        assert_eq!(told.len(), ends.len(), "{told:?}");
        let end = |told: &Told| ends[&told.number];
        assert!(told.is_sorted_by(|one, next| end(one) < end(next)), "in their order: {told:?}");
        assert!(told.is_sorted_by(|one, next| one.is_durable >= next.is_durable), "{told:?}");
        let is_true =
            |told: &Told| !told.is_durable || u64::from(end(told).offset()) <= told.durable;
        assert!(told.iter().all(is_true), "what is told to be durable is: {told:?}");
        ends.len()
    }
}

/// Three threads push two frames each and wait as they do; then the log is closed.
fn play(fails: Option<u64>, has_committer: bool) {
    let stage = Stage::new(fails, has_committer);
    let committer = has_committer.then(|| {
        let stage = Arc::clone(&stage);
        thread::spawn(move || stage.writer.run(&stage.segments))
    });
    let threads =
        [Wait::Commit, Wait::Durable, Wait::Read].into_iter().zip(0..).map(|(wait, at)| {
            let stage = Arc::clone(&stage);
            thread::spawn(move || {
                for number in [2 * at, 2 * at + 1] {
                    if let Err(error) = stage.append(number, wait) {
                        assert_eq!(*error.kind(), ErrorKind::Poisoned);
                        assert!(fails.is_some(), "{error}");
                    }
                }
            })
        });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
    stage.writer.close();
    match committer {
        Some(committer) => committer.join().expect("it does not panic"),
        None => stage.writer.run(&stage.segments),
    }
    let pushed = stage.check();
    let health = stage.writer.health().expect_err("it is closed");
    if fails.is_some() {
        assert_eq!(*health.kind(), ErrorKind::Poisoned);
    } else {
        assert_eq!(*health.kind(), ErrorKind::Closed);
        assert_eq!((pushed, stage.writer.figures().frame_count), (6, 6));
        let durable = stage.writer.durable();
        assert_eq!(durable, stage.writer.tail().end, "closing leaves nothing behind");
        assert_eq!(u64::from(durable.offset()), stage.disk.0.lock().durable);
    }
}

#[test]
fn frames_become_durable_in_order_beside_a_committer() {
    prove(|| play(None, true));
}

#[test]
fn frames_become_durable_in_order_by_whoever_waits() {
    prove(|| play(None, false));
}

#[test]
fn after_a_failed_sync_all_are_told_and_nothing_is_acknowledged() {
    prove(|| play(Some(1), true));
    prove(|| play(Some(2), false));
}
