//! The threads of runs, and of the stores that runs open.
//!
//! Invariant: runs have a stack of `STACK_BYTES`, as a database's workers do.

use std::sync::Once;

use continuant::STACK_BYTES;

/// Runs a function on a thread with the stack of a run, and waits for it.
pub(crate) fn on_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    thread.expect("the system has a thread").join().expect("panics are caught inside")
}

/// Has panics of other threads, such as a store's, end the process: nobody would hear of them.
pub(crate) fn watch_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with("continuant-")) {
                std::process::abort();
            }
        }));
    });
}
