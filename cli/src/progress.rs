//! Progress of long work: a bar on stderr, when that is a terminal and the work is long.
//!
//! This module does not know the work.
//!
//! Invariant: nothing is drawn without a terminal, and a bar is gone when its work is done.

use std::io;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::stop;

/// The time between two drawings of a bar.
const TICK: Duration = Duration::from_millis(100);
/// The time after which work without a bar is shown.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bar over `count` things.
pub(crate) fn bar(doing: &'static str, count: u64) -> ProgressBar {
    let template = "{msg:10} {bar:32} {human_pos} of {human_len}, {eta} left";
    start(doing, count, template)
}

/// A bar over `count` bytes.
pub(crate) fn bytes(doing: &'static str, count: u64) -> ProgressBar {
    start(doing, count, "{msg:10} {bar:32} {bytes} of {total_bytes}, {eta} left")
}

/// A count of bytes without a known end.
pub(crate) fn growing(doing: &'static str) -> ProgressBar {
    start(doing, 0, "{msg:10} {bytes}")
}

/// A count of things without a known end, and how many there are a second.
pub(crate) fn counting(doing: &'static str) -> ProgressBar {
    start(doing, 0, "{msg:10} {human_pos}, {per_sec}, {elapsed}")
}

/// Work of unknown length that is under way: once it takes long it is shown, until this is dropped.
pub(crate) struct Busy {
    /// Dropped first, which ends the thread.
    done: Option<Sender<()>>,
    shower: Option<JoinHandle<()>>,
}

/// Shows `doing` if the work takes longer than [`PATIENCE`].
pub(crate) fn busy(doing: &'static str) -> Busy {
    let (done, is_done) = channel();
    let show = move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let bar = start(doing, 0, "{msg:10} {elapsed}");
            // The channel ends with an error, because nothing is ever sent.
            let _ended = is_done.recv();
            bar.finish_and_clear();
        }
    };
    // Without a thread nothing is shown.
    let shower = std::thread::Builder::new().spawn(show).ok();
    Busy { done: Some(done), shower }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(shower) = self.shower.take() {
            // The line disappears before anything else is printed.
            drop(shower.join());
        }
    }
}

/// Returns a function that sets how much is done, and of how much.
pub(crate) fn follow(bar: &ProgressBar) -> impl FnMut(u64, u64) {
    |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    }
}

/// Called with how much is done, and of how much; returns whether the work continues.
pub(crate) type Progress<'a> = &'a mut (dyn FnMut(u64, u64) -> ControlFlow<()> + Send);

/// Does work that a bar shows, and that stops in order when a signal asks the process to end.
pub(crate) fn in_order<T>(bar: ProgressBar, work: impl FnOnce(Progress<'_>) -> T) -> T {
    let _orderly = stop::orderly();
    let mut show = follow(&bar);
    let worked = work(&mut |done, all| {
        show(done, all);
        unless_asked()
    });
    bar.finish_and_clear();
    worked
}

/// Returns whether work continues; it stops when a signal asks the process to end.
pub(crate) fn unless_asked() -> ControlFlow<()> {
    match stop::asked() {
        Some(_) => ControlFlow::Break(()),
        None => ControlFlow::Continue(()),
    }
}

/// A reader that fails from when a signal asks the process to end.
pub(crate) struct UntilAsked<R> {
    from: R,
    /// The signal, once that was why a read failed.
    pub(crate) ended_by: Option<i32>,
}

impl<R> UntilAsked<R> {
    pub(crate) fn new(from: R) -> UntilAsked<R> {
        UntilAsked { from, ended_by: None }
    }
}

impl<R: Read> Read for UntilAsked<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.ended_by = stop::asked();
        match self.ended_by {
            Some(_) => Err(io::Error::other("a signal asked for it to stop")),
            None => self.from.read(bytes),
        }
    }
}

fn start(doing: &'static str, count: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is a constant");
    let bar = ProgressBar::new(count).with_style(style).with_message(doing);
    bar.enable_steady_tick(TICK);
    bar
}
