//! The open group, and its writing: the next group forms while one syncs.
//!
//! The committer's thread writes groups. If it has nothing to do, a thread that waits for the disk
//! anyway writes its group itself: then no thread has to be woken, twice, for one commit. Without a
//! committer every waiting thread does. The committer lets a group gather while it grows: a sync
//! takes the processor from the threads that make frames, and costs the same for few frames as for
//! many. This module does not know the content of bodies, nor who waits. `schedules` plays it in
//! many orders.
//!
//! Invariant: positions are assigned in the order in which frames are written, without a gap within
//! a segment; one thread at a time writes groups.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::sync::{Condvar, Mutex, MutexGuard};
use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::figures::Figures;
use crate::log::file;
use crate::log::frame::{BODY_BYTES_MAX, Check, HEADER_BYTES, Seal, damaged};
use crate::log::segment::{Segments, Tail};

/// Bytes of a group that has gathered enough.
const GATHER_BYTES_MAX: usize = 1 << 20;
/// The number of checks whether a gathering group has grown, and the pause between two: a
/// millisecond in all.
const GATHER_LOOKS_MAX: u32 = 2;
const GATHER_LOOK: Duration = Duration::from_micros(500);
/// Back-off: groups to commit without gathering after a gather that did not grow, because all
/// makers of frames wait for theirs; it doubles each time.
const GATHER_PAUSE_MIN: u32 = 4;
const GATHER_PAUSE_MAX: u32 = 1024;

/// A callback with the outcome of a frame, called once, on the thread that commits. It must not
/// call the log, which may wait until it was called.
pub(crate) type Done = Box<dyn FnOnce(Result<()>) + Send>;

/// Sizes of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) segment_bytes: u32,
    pub(crate) group_bytes_max: usize,
    /// Frames of a group that is let gather before it is written.
    pub(crate) gather_frames_min: usize,
}

#[derive(Debug)]
pub(crate) struct Writer {
    seal: Seal,
    sizes: Sizes,
    state: Mutex<State>,
    /// There is something for the committer.
    work: Condvar,
    /// A group was taken, written or synced, or the log failed.
    progress: Condvar,
}

#[derive(Debug)]
struct State {
    tail: Tail,
    /// Bytes that the segment of the tail has room for.
    capacity: u64,
    group: Group,
    /// Bytes of groups that were used and can be used again.
    spare: VecDeque<Vec<u8>>,
    /// The group after the open one, empty, with room for callbacks that another one had.
    next: Group,
    written: Position,
    durable: Position,
    /// All before is durable, and its callbacks have been called.
    acknowledged: Position,
    figures: Figures,
    /// Bytes of the largest group that was committed.
    group_bytes_largest: u64,
    failure: Option<Error>,
    closing: bool,
    /// A group was taken, and its callbacks have not all been called yet.
    committing: bool,
    /// The committer lets the open group gather.
    gathering: bool,
    /// Threads that wait for groups to be taken, written or synced, and leave that to others.
    waiting: u32,
    /// Groups that are not let gather now, and how many are not after the next that does not grow.
    gather_pauses: (u32, u32),
}

/// Frames that become durable together.
#[derive(Default)]
struct Group {
    start: Position,
    end: Position,
    runs: Vec<Run>,
    bytes_count: usize,
    done: Vec<Done>,
}

/// Bytes of a group that go to one place of one segment.
#[derive(Debug)]
struct Run {
    start: Position,
    /// The new segment that the run starts, if it has to be made.
    new: Option<NewSegment>,
    /// Bytes that the segment has room for.
    capacity: u64,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct NewSegment {
    /// The last frame before it.
    previous: Check,
    /// The end of the segment before it, which is full.
    end: Position,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("frames", &self.done.len()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Continues behind `tail`, in its segment when that has room for `capacity` bytes.
    pub(crate) fn new(seal: Seal, tail: Tail, capacity: u64, sizes: Sizes) -> Writer {
        let state = State {
            tail,
            capacity,
            group: Group::default(),
            spare: VecDeque::new(),
            next: Group::default(),
            written: tail.end,
            durable: tail.end,
            acknowledged: tail.end,
            figures: Figures::default(),
            group_bytes_largest: 0,
            failure: None,
            closing: false,
            committing: false,
            gathering: false,
            waiting: 0,
            gather_pauses: (0, GATHER_PAUSE_MIN),
        };
        let (work, progress) = Default::default();
        Writer { seal, sizes, state: Mutex::new(state), work, progress }
    }

    /// Adds a frame to the open group and returns the end behind it; the caller must ensure that
    /// the group is committed.
    pub(crate) fn push(
        &self,
        body: &[u8],
        hash: blake3::Hash,
        done: Done,
    ) -> Result<Tail, (Error, Done)> {
        if body.len() > BODY_BYTES_MAX as usize {
            let (found, max) = (body.len() as u64, u64::from(BODY_BYTES_MAX));
            return Err((ErrorKind::TooLarge { found, max }.into(), done));
        }
        let mut state = self.state.lock();
        if let Err(error) = state.health() {
            return Err((error, done));
        }
        let position = state.place(HEADER_BYTES + body.len(), self.sizes.segment_bytes);
        let header = self.seal.header(body.len() as u32, state.group.start, state.tail.check, hash);
        let run = state.group.runs.last_mut().expect("a place is in a run");
        assert_eq!(run.start.0 + run.bytes.len() as u64, position.0, "a frame follows its run");
        run.bytes.extend_from_slice(&self.seal.encode(&header));
        run.bytes.extend_from_slice(body);
        let tail = Tail::behind(&header, position);
        assert_eq!(tail.end.segment(), position.segment(), "a frame is in one segment");
        assert!(tail.end > state.tail.end, "frames are behind each other");
        state.tail = tail;
        state.group.end = tail.end;
        state.group.bytes_count += HEADER_BYTES + body.len();
        state.group.done.push(done);
        if cfg!(debug_assertions) {
            state.check_invariants();
        }
        Ok(tail)
    }

    /// Wakes the committer when it has something to do, unless a commit is in progress: its end
    /// wakes it.
    pub(crate) fn wake(&self) {
        let state = self.state.lock();
        let is_wanted = !state.committing
            && !state.gathering
            && (!state.group.done.is_empty() || state.health().is_err());
        drop(state);
        if is_wanted {
            self.work.notify_one();
        }
    }

    /// Has the next frame start a segment: the one that is open takes nothing more.
    pub(crate) fn end_segment(&self) {
        self.state.lock().capacity = 0;
    }

    pub(crate) fn wait_for_room(&self, segments: Option<&Segments>) -> Result<()> {
        self.wait(segments, |state| state.group.bytes_count <= self.sizes.group_bytes_max)
    }

    pub(crate) fn wait_written(
        &self,
        segments: Option<&Segments>,
        position: Position,
    ) -> Result<()> {
        if position >= self.state.lock().tail.end {
            return Err(damaged(position, "a place in the log", "one behind its end"));
        }
        self.wait(segments, |state| position < state.written)
    }

    pub(crate) fn wait_durable(&self, segments: Option<&Segments>, end: Position) -> Result<()> {
        self.wait(segments, |state| end <= state.durable)
    }

    /// Waits until `holds`; fails when the log fails or ends first. With the segments it commits
    /// groups itself, as long as nobody else does.
    fn wait(&self, segments: Option<&Segments>, holds: impl Fn(&State) -> bool) -> Result<()> {
        let mut state = self.state.lock();
        while !holds(&state) {
            state.health()?;
            match segments.filter(|_| !state.committing) {
                Some(segments) => state = self.commit_next(segments, state),
                None => {
                    if std::mem::take(&mut state.gathering) {
                        self.work.notify_one();
                    }
                    state.waiting += 1;
                    self.progress.wait(&mut state);
                    state.waiting -= 1;
                }
            }
        }
        Ok(())
    }

    /// Commits the open group.
    fn commit_next<'a>(
        &'a self,
        segments: &Segments,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        let group = state.take();
        drop(state);
        self.progress.notify_all();
        self.commit(segments, group);
        self.state.lock()
    }

    /// Asserts what always holds of the open group, and of how far the log is.
    pub(crate) fn check_invariants(&self) {
        self.state.lock().check_invariants();
    }

    pub(crate) fn tail(&self) -> Tail {
        self.state.lock().tail
    }

    pub(crate) fn durable(&self) -> Position {
        self.state.lock().durable
    }

    pub(crate) fn figures(&self) -> Figures {
        self.state.lock().figures
    }

    pub(crate) fn group_bytes_largest(&self) -> u64 {
        self.state.lock().group_bytes_largest
    }

    pub(crate) fn health(&self) -> Result<()> {
        self.state.lock().health()
    }

    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_one();
    }

    pub(crate) fn poison(&self, error: &Error) {
        let mut state = self.state.lock();
        state.failure.get_or_insert_with(|| poisoned(error));
        drop(state);
        self.progress.notify_all();
        self.work.notify_one();
    }

    /// The committer: commits groups until the log is closed or fails.
    pub(crate) fn run(&self, segments: &Segments) {
        while let Some(group) = self.take() {
            self.commit(segments, group);
        }
        self.refuse_rest();
    }

    /// Waits until all before `end` is durable and its callbacks have been called; commits groups
    /// itself as long as nobody else does.
    pub(crate) fn commit_until(&self, segments: &Segments, end: Position) -> Result<()> {
        let mut state = self.state.lock();
        while end > state.acknowledged {
            if let Some(error) = state.failure.clone().filter(|_| end > state.durable) {
                let is_free = !state.committing;
                drop(state);
                if is_free {
                    self.refuse_rest();
                }
                return Err(error);
            }
            // The committer, or the closing thread, writes the rest when the log is closed.
            if state.committing || state.closing {
                self.progress.wait(&mut state);
                continue;
            }
            state = self.commit_next(segments, state);
        }
        Ok(())
    }

    /// Writes and syncs a group that was taken, and answers its waiting threads.
    fn commit(&self, segments: &Segments, group: Group) {
        let on_panic = OnPanic(self);
        let Group { start, end, runs, bytes_count, mut done } = group;
        assert!(start < end, "a group has frames");
        assert!(!done.is_empty() && !runs.is_empty(), "frames have bytes and callbacks");
        let group = tracing::debug_span!("group", %start, frames = done.len(), bytes = bytes_count);
        let group = group.entered();
        let written = self.write(segments, &runs, end);
        let syncing = Instant::now();
        let result = written.and_then(|()| sync(segments, &runs));
        let sync_time = syncing.elapsed();
        tracing::debug!(?sync_time, written = result.is_ok(), "synced");
        drop(group);
        let mut state = self.state.lock();
        // A failure elsewhere meanwhile: the group is durable, but nothing is acknowledged.
        let result = result.and_then(|()| state.failure.clone().map_or(Ok(()), Err));
        match &result {
            Ok(()) => {
                assert!(state.durable <= start, "groups become durable in order");
                assert!(state.written >= end, "what is durable was written");
                state.durable = end;
                let usual = bytes_count.min(self.sizes.group_bytes_max) as u64;
                state.group_bytes_largest = state.group_bytes_largest.max(usual);
                let (figures, frame_count) = (&mut state.figures, done.len() as u64);
                figures.group_count += 1;
                figures.frame_count += frame_count;
                figures.group_frames_max = figures.group_frames_max.max(frame_count);
                figures.bytes_count += bytes_count as u64;
                figures.sync_count += runs.len() as u64;
                figures.sync_time += sync_time;
            }
            Err(error) => {
                state.failure.get_or_insert_with(|| poisoned(error));
            }
        }
        state.recycle(runs, self.sizes.group_bytes_max);
        if cfg!(debug_assertions) {
            state.check_invariants();
        }
        drop(state);
        self.progress.notify_all();
        let result = result.map_err(|error| poisoned(&error));
        done.drain(..).for_each(|done| call_back(done, result.clone()));
        if result.is_err() {
            self.refuse_rest();
        }
        std::mem::forget(on_panic);
        // Only now, so that callbacks are called in the order of their frames.
        self.release(done);
    }

    /// Lets the next group be committed; `room` is for the callbacks of one after it.
    fn release(&self, room: Vec<Done>) {
        assert!(room.is_empty(), "all callbacks have been called");
        let mut state = self.state.lock();
        assert!(state.committing, "a group that was taken is committed");
        state.committing = false;
        state.acknowledged = state.durable;
        state.next.done = room;
        drop(state);
        self.progress.notify_all();
        self.wake();
    }

    /// The next group, for the committer; none when the log failed, or was closed and all is
    /// written.
    fn take(&self) -> Option<Group> {
        let mut state = self.state.lock();
        let mut has_gathered = false;
        loop {
            while state.committing || (state.group.done.is_empty() && state.health().is_ok()) {
                self.work.wait(&mut state);
            }
            if has_gathered || !state.may_gather(self.sizes) {
                break;
            }
            self.gather(&mut state);
            has_gathered = true;
        }
        if !has_gathered {
            state.gather_pauses.0 = state.gather_pauses.0.saturating_sub(1);
        }
        if state.group.done.is_empty() || state.failure.is_some() {
            return None;
        }
        let group = state.take();
        drop(state);
        self.progress.notify_all();
        Some(group)
    }

    /// Lets the open group gather while it grows, and nobody wants or takes it.
    fn gather(&self, state: &mut MutexGuard<'_, State>) {
        state.gathering = true;
        let first_count = state.group.done.len();
        let mut last_count = first_count;
        for _ in 0..GATHER_LOOKS_MAX {
            let is_over = self.work.wait_for(state, GATHER_LOOK).timed_out();
            if !state.gathering {
                return;
            }
            let count = state.group.done.len();
            let has_stopped = is_over && count == last_count;
            last_count = count;
            if has_stopped || !state.may_gather(self.sizes) {
                break;
            }
        }
        state.gathering = false;
        let (_, next) = state.gather_pauses;
        state.gather_pauses = match last_count > first_count {
            true => (0, GATHER_PAUSE_MIN),
            false => (next, GATHER_PAUSE_MAX.min(2 * next)),
        };
    }

    fn write(&self, segments: &Segments, runs: &[Run], end: Position) -> Result<()> {
        for run in runs {
            assert!(!run.bytes.is_empty(), "a run has bytes");
            let segment = run.start.segment();
            let needed = u64::from(run.start.offset()) + run.bytes.len() as u64;
            match &run.new {
                Some(new) => {
                    // A segment that is followed by another ends with its last frame: old frames
                    // behind that would look like damage.
                    segments.truncate(new.end.segment(), u64::from(new.end.offset()))?;
                    let (room, previous) = (run.capacity, new.previous);
                    drop(segments.create_with_room(segment, needed, room, previous)?);
                }
                None => segments.reserve(segment, needed, run.capacity)?,
            }
            segments.write(segment, u64::from(run.start.offset()), &run.bytes)?;
        }
        self.state.lock().written = end;
        self.progress.notify_all();
        Ok(())
    }

    /// Answers the threads that wait for frames which will never be written.
    fn refuse_rest(&self) {
        let mut state = self.state.lock();
        let group = std::mem::take(&mut state.group);
        let health = state.health();
        drop(state);
        self.progress.notify_all();
        group.done.into_iter().for_each(|done| call_back(done, health.clone()));
    }
}

/// Calls a callback. If it panics, it counts as answered, and nothing else is affected.
fn call_back(done: Done, result: Result<()>) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        tracing::error!("a callback of an append panicked");
    }
}

/// Ends the log when it is dropped, since a commit panicked: waiting threads are answered.
struct OnPanic<'a>(&'a Writer);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        let panicked = std::io::Error::other("it panicked");
        self.0.poison(&Error::io("commit", panicked));
        self.0.refuse_rest();
        self.0.release(Vec::new());
    }
}

/// Syncs the written runs.
fn sync(segments: &Segments, runs: &[Run]) -> Result<()> {
    runs.iter().try_for_each(|run| segments.sync(run.start.segment()))
}

impl State {
    /// Asserts what always holds between operations.
    fn check_invariants(&self) {
        assert!(self.acknowledged <= self.durable, "only what is durable is acknowledged");
        assert!(self.durable <= self.written, "only what is written is durable");
        assert!(self.written <= self.tail.end, "only what was pushed is written");
        let Group { start, end, runs, bytes_count, done } = &self.group;
        let all: usize = runs.iter().map(|run| run.bytes.len()).sum();
        assert_eq!(*bytes_count, all, "the bytes of a group are counted");
        assert_eq!(done.is_empty(), runs.is_empty(), "a group has frames where it has bytes");
        if !done.is_empty() {
            assert!(start < end, "a group has room for its frames");
            assert_eq!(*end, self.tail.end, "the open group is the end of the log");
            assert!(self.written <= *start, "the open group was not written");
        }
        for run in runs {
            let run_end = u64::from(run.start.offset()) + run.bytes.len() as u64;
            assert!(run_end <= run.capacity, "a run fits its segment");
        }
        for pair in runs.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            assert_eq!(
                next.start.segment(),
                one.start.segment() + 1,
                "runs are of segments in turn"
            );
            assert!(next.new.is_some(), "only the first run of a group goes on in a segment");
        }
        assert!(self.next.runs.is_empty() && self.next.done.is_empty(), "the next group is empty");
        assert!(self.spare.iter().all(Vec::is_empty), "a spare buffer is empty");
        let pause = GATHER_PAUSE_MIN..=GATHER_PAUSE_MAX;
        assert!(pause.contains(&self.gather_pauses.1), "gathering pauses within its limits");
    }

    fn health(&self) -> Result<()> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None if self.closing => Err(ErrorKind::Closed.into()),
            None => Ok(()),
        }
    }

    /// Returns whether the open group may grow further before it is committed.
    fn may_gather(&self, sizes: Sizes) -> bool {
        let has_some = self.group.done.len() >= sizes.gather_frames_min;
        let is_growing = has_some && self.gather_pauses.0 == 0;
        let has_enough = self.group.bytes_count >= GATHER_BYTES_MAX || self.waiting > 0;
        is_growing && !has_enough && !self.committing && self.health().is_ok()
    }

    /// Takes the open group, to be committed.
    fn take(&mut self) -> Group {
        assert!(!self.committing, "one group is committed at a time");
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        (self.committing, self.gathering) = (true, false);
        std::mem::replace(&mut self.group, std::mem::take(&mut self.next))
    }

    /// Returns the place of the next frame of `length` bytes, and ensures that the group has a run
    /// for it.
    fn place(&mut self, length: usize, segment_bytes: u32) -> Position {
        let length = length as u64;
        let before = self.tail.end;
        let fits = u64::from(before.offset()) + length <= self.capacity;
        if !fits {
            let number = before.segment() + 1;
            self.tail.end = Position::new(number, file::HEADER_BYTES as u32);
            let needed = file::HEADER_BYTES as u64 + length;
            self.capacity = needed.max(u64::from(segment_bytes));
        }
        let start = self.tail.end;
        if !fits || self.group.runs.is_empty() {
            let bytes = self.spare.pop_front().unwrap_or_default();
            let new = NewSegment { previous: self.tail.check, end: before };
            let new = (!fits).then_some(new);
            self.group.runs.push(Run { start, new, capacity: self.capacity, bytes });
        }
        if self.group.done.is_empty() {
            self.group.start = start;
        }
        assert!(u64::from(start.offset()) + length <= self.capacity, "a frame fits its segment");
        start
    }

    /// Keeps the buffers of a group for later ones.
    fn recycle(&mut self, runs: Vec<Run>, bytes_max: usize) {
        for mut run in runs {
            if self.spare.len() < 2 && run.bytes.capacity() <= 2 * bytes_max {
                run.bytes.clear();
                self.spare.push_back(run.bytes);
            }
        }
    }
}

/// Returns the error of a log after a failure: nothing is acknowledged any more.
fn poisoned(error: &Error) -> Error {
    match error.kind() {
        ErrorKind::Poisoned => error.clone(),
        _ => Error::from(ErrorKind::Poisoned).because(error.clone()),
    }
}
