//! Signals that ask the process to end: SIGINT, SIGTERM and SIGHUP.
//!
//! A command that must stop in order says so by [`orderly`], and asks now and then whether to stop:
//! then it stops at the next good place, closes what it has open, and prints what was done. A
//! second signal ends the process at once, and so does the first if no command is orderly. This
//! module does not know what commands do.
//!
//! Handlers are set from the beginning: a process with the number 1 needs that, since signals
//! without a handler do not reach it. A signal that was ignored when the process started, as by
//! `nohup`, stays ignored.
//!
//! ```text
//! listen --signal, nobody is orderly--> end
//!    |
//!    +--signal, somebody is--> asked --signal--> end
//! ```

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The signals received, and the work that wants to stop in order.
struct State {
    asked: Option<i32>,
    /// The number of commands that want to stop in order.
    orderly: usize,
}

static STATE: Mutex<State> = Mutex::new(State { asked: None, orderly: 0 });
static CHANGED: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens for signals from now on, on a thread of its own.
pub(crate) fn listen() {
    let ignored = ignored();
    let signals = SIGNALS.into_iter().filter(|signal| ignored & 1 << (signal - 1) == 0);
    // If no handler can be set, signals have their default effect.
    let Ok(mut signals) = Signals::new(signals.collect::<Vec<_>>()) else { return };
    let thread = std::thread::Builder::new().name("signals".to_string());
    drop(thread.spawn(move || signals.forever().for_each(received)));
}

/// The signals that are ignored, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn received(signal: i32) {
    debug_assert!(SIGNALS.contains(&signal), "only these are listened for");
    let mut state = state();
    if state.asked.is_some() || state.orderly == 0 {
        // The parent of the process must see which signal ended it. A process with the number 1 is
        // ended by no signal without a handler, not even by that of an abort.
        if std::process::id() != 1 {
            drop(low_level::emulate_default_handler(signal));
        }
        low_level::exit(code(signal).into());
    }
    state.asked = Some(signal);
    CHANGED.notify_all();
}

/// Has the first signal only ask, as long as the result is kept.
pub(crate) fn orderly() -> Orderly {
    state().orderly += 1;
    Orderly(())
}

/// A guard: while one exists, signals only ask.
#[must_use]
#[derive(Debug)]
pub(crate) struct Orderly(());

impl Drop for Orderly {
    fn drop(&mut self) {
        let mut state = state();
        assert!(state.orderly > 0, "orderly work ends once");
        state.orderly -= 1;
    }
}

/// The signal that asked the process to end, if one did.
pub(crate) fn asked() -> Option<i32> {
    state().asked
}

/// Waits for the duration, or until the process is asked to end, or until [`wake`] when `is_over`
/// then.
pub(crate) fn pause(duration: Duration, is_over: impl Fn() -> bool) {
    let goes_on = |state: &mut State| state.asked.is_none() && !is_over();
    drop(CHANGED.wait_timeout_while(state(), duration, goes_on));
}

/// Wakes the waiting threads, which check again whether their work is over.
pub(crate) fn wake() {
    // A thread that has looked and is about to wait does wait before the lock is taken here.
    drop(state());
    CHANGED.notify_all();
}

/// Returns the exit code of work that a signal stopped.
pub(crate) fn code(signal: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX))
}

/// Returns the name of a signal.
pub(crate) fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGHUP => "SIGHUP",
        _ => "SIGTERM",
    }
}
