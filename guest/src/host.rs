//! The host functions that an object can call, and the function by which a step ends itself.
//!
//! This module does not know the consequences: outputs and wakes are part of the step, so they take
//! effect only if the step is admitted.

/// Bytes of an object's id.
const ID_BYTES: usize = 32;

/// Returns the time of the input that the object runs on, in milliseconds since 1970-01-01 UTC.
///
/// # Panics
///
/// On targets other than wasm32, where there is no host. So do [`emit`], [`send`], [`wake`] and
/// [`sleep`].
pub fn now() -> u64 {
    // SAFETY: the signature is that of the ABI.
    unsafe { imports::now() }
}

/// Sends an output to the world: a name of 1 to 64 bytes, and its content.
pub fn emit(name: &str, data: &[u8]) {
    // SAFETY: the signature is that of the ABI; the host reads both slices and keeps neither.
    unsafe { imports::emit(name.as_ptr(), name.len(), data.as_ptr(), data.len()) }
}

/// Sends a message: it asks the object with the id `to` to run `method`, in a step of its own, some
/// time after this one. That object's policy decides, with this object as the principal; a refused
/// message has no effect, and is on record. Messages to one object arrive in their order, once.
///
/// `arguments` are the method's, as the receiver's schema says: see [`Payload`](crate::Payload).
///
/// A message takes 10,000 units of the step's fuel; the steps of all its messages share the fuel
/// that the step leaves.
///
/// # Panics
///
/// When `to` is not 32 bytes long.
pub fn send(to: &[u8], method: &str, arguments: &[u8]) {
    if to.len() != ID_BYTES {
        trap();
    }
    let (method, method_bytes) = (method.as_ptr(), method.len());
    let (arguments, arguments_bytes) = (arguments.as_ptr(), arguments.len());
    // SAFETY: the signature is that of the ABI; the host reads the three slices and keeps none.
    unsafe { imports::send(to.as_ptr(), method, method_bytes, arguments, arguments_bytes) }
}

/// Sets the time at which `cycle` runs, in milliseconds since 1970-01-01 UTC; it replaces the one
/// set before. At the earliest that is a millisecond from now.
pub fn wake(at: u64) {
    // SAFETY: the signature is that of the ABI.
    unsafe { imports::wake(at) }
}

/// Clears the wake: `cycle` does not run any more until the next [`wake`].
pub fn sleep() {
    // SAFETY: the signature is that of the ABI.
    unsafe { imports::sleep() }
}

/// Ends the step: none of its changes stay, and the refusal is on record.
///
/// # Panics
///
/// On targets other than wasm32.
#[cold]
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("the object's code traps")
}

/// A panic is a trap: its message would cost more than the object's code.
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    trap()
}

#[cfg(target_arch = "wasm32")]
mod imports {
    //! The imports of the ABI.

    #[link(wasm_import_module = "continuant")]
    unsafe extern "C" {
        pub(super) fn now() -> u64;
        pub(super) fn emit(name: *const u8, name_bytes: usize, data: *const u8, data_bytes: usize);
        pub(super) fn send(
            to: *const u8,
            method: *const u8,
            method_bytes: usize,
            arguments: *const u8,
            arguments_bytes: usize,
        );
        pub(super) fn wake(at: u64);
        pub(super) fn sleep();
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imports {
    //! Stand-ins for the imports on targets that have no host.

    const NO_HOST: &str = "only in wasm32 does an object have a host";

    pub(super) unsafe fn now() -> u64 {
        panic!("{NO_HOST}")
    }

    pub(super) unsafe fn emit(_: *const u8, _: usize, _: *const u8, _: usize) {
        panic!("{NO_HOST}")
    }

    pub(super) unsafe fn send(_: *const u8, _: *const u8, _: usize, _: *const u8, _: usize) {
        panic!("{NO_HOST}")
    }

    pub(super) unsafe fn wake(_: u64) {
        panic!("{NO_HOST}")
    }

    pub(super) unsafe fn sleep() {
        panic!("{NO_HOST}")
    }
}
