//! The library of object code: an object in Rust is a struct for its state and an `impl` block for
//! its methods and its cycle, in a module with the attribute [`object`].
//!
//! ```
//! #[continuant_guest::object]
//! mod counter {
//!     pub struct State {
//!         count: u64,
//!     }
//!
//!     impl State {
//!         /// A method: anyone may call it whom the object's policy permits.
//!         pub fn increment(&mut self, by: u64) -> u64 {
//!             self.count += by;
//!             self.count
//!         }
//!     }
//! }
//! assert!(counter::WIT.contains("increment: func(by: u64) -> u64;"));
//! ```
//!
//! The state *is* the object's memory: it stays where the last step left it, and there is nothing
//! to load or to save. `create`, if the module has one, runs once, when the object is made; until
//! then every field is zero, empty or none. `cycle`, if the module has one, runs when the object's
//! wake is due.
//!
//! A field is an integer, a float, a `bool`, a `char`, an array of such, a [`Maybe`], or a struct
//! or fieldless enum of the same module; [`Bytes`], [`Text`] and [`Texts`] are fields of the state
//! itself. A parameter or result is one of those scalars, structs or enums, `Option` of one, `&str`
//! or `&[u8]`; a parameter also `&[Str]`. Any other type is an error at compile time.
//!
//! Arithmetic wraps or traps as the profile says that the object is compiled with; the policy
//! decides which values a number may have.
//!
//! This crate does not know the host. It compiles on other targets than wasm32 too, so that an
//! object's own logic can be tested, but calls of the host panic there: see [`now`].
//!
//! Invariant: nothing here allocates, and unused parts are not linked.

#![no_std]

#[cfg(test)]
extern crate std;

mod bytes;
mod field;
mod host;
#[doc(hidden)]
pub mod object;
mod payload;
mod texts;

pub use bytes::{Bytes, Text};
pub use field::{Field, Maybe};
pub use host::{emit, now, send, sleep, trap, wake};
/// Turns a module into an object: its schema, and the exports that a host calls.
///
/// The module has a `pub struct State`, whose `pub` methods with `self` are those of the object.
/// Arguments: `package = "name:space@1.0.0"`, the schema's package, by default `object:` and the
/// module's name; `arguments = 4096`, the number of bytes that the strings and lists of one call
/// may have together. The module gets a `WIT`, the schema's text.
///
/// ```compile_fail
/// #[continuant_guest::object]
/// mod counter {
///     pub struct State {
///         count: usize, // error: usize is not of the same size everywhere: use u32 or u64
///     }
/// }
/// ```
pub use macros::object;
pub use payload::{Payload, Put};
pub use texts::{Str, Texts};
