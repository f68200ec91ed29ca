//! Threads with a deep stack, as guests and policies need it, and the proof of being on one.
//!
//! A guest runs on the stack of the thread that calls it, and Cedar needs stack in proportion to an
//! expression's depth: with less of it a verdict may differ, or the process end. So code that runs
//! a step, parses a policy, decides by one or drops one takes a [`DeepStack`]. This module does not
//! know what runs there.
//!
//! Invariant: a `DeepStack` is only on threads that were started with `STACK_BYTES`, here or by an
//! embedder as documented. It is not `Send`, so it never leaves its thread.

use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, ErrorKind, Result};
use crate::substrate::THREAD_STACK_BYTES;

/// Bytes of stack of a thread that runs steps and policies.
pub const STACK_BYTES: usize =
    if THREAD_STACK_BYTES > policy::STACK_BYTES { THREAD_STACK_BYTES } else { policy::STACK_BYTES };

/// Proves that the thread has a stack of [`STACK_BYTES`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeepStack(PhantomData<*const ()>);

impl DeepStack {
    /// Takes the embedder's word for its thread, which works for a database without workers:
    /// `Options::workers` and `Database::work` say how deep its stack must be.
    pub(crate) fn promised() -> DeepStack {
        DeepStack(PhantomData)
    }
}

/// Runs `work` on a thread of its own that has a deep stack, waits, and returns its result.
///
/// # Panics
///
/// When `work` does.
pub(crate) fn on_thread<T: Send>(work: impl FnOnce(DeepStack) -> T + Send) -> Result<T> {
    let work = || work(DeepStack(PhantomData));
    std::thread::scope(|scope| {
        let thread = builder("continuant-audit").spawn_scoped(scope, work).map_err(not_started)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Starts a thread of this name that has a deep stack.
pub(crate) fn start(
    name: String,
    work: impl FnOnce(DeepStack) + Send + 'static,
) -> Result<JoinHandle<()>> {
    builder(name).spawn(|| work(DeepStack(PhantomData))).map_err(not_started)
}

fn builder(name: impl Into<String>) -> Builder {
    Builder::new().name(name.into()).stack_size(STACK_BYTES)
}

fn not_started(error: std::io::Error) -> Error {
    ErrorKind::Substrate(format!("a thread: {error}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has one `is_either` for types that stay on their thread, and two, which are ambiguous, for
    /// types that are `Send`.
    trait Either<A> {
        fn is_either() -> bool {
            true
        }
    }

    impl<T: ?Sized> Either<()> for T {}
    impl<T: ?Sized + Send> Either<u8> for T {}

    #[test]
    fn a_deep_stack_stays_on_its_thread_and_takes_no_room() {
        assert!(<DeepStack as Either<_>>::is_either(), "this does not compile if it is `Send`");
        assert_eq!(size_of::<DeepStack>(), 0);
    }
}
