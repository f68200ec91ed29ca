//! The schema of an object: its state and its methods, as a WIT package with a `state` record and
//! one function per method.
//!
//! From the one text come the layout of the state in memory (the component model's Canonical ABI),
//! the bytes of a method's arguments, the core values of a call, and the JSON shape of all of them.
//! A schema does not know how a method runs, nor who may call it.
//!
//! Invariant: a `Schema` is within every limit of [`object::limits`], so nothing that walks its
//! types runs long or recurses deep; no text, payload, memory or JSON makes anything here panic.

pub mod code;
mod excerpt;
mod fault;
mod json;
mod layout;
mod lower;
mod method;
mod migrate;
mod parse;
mod payload;
mod place;
mod read;
mod scalar;
mod scan;
mod schema;
mod shape;
mod store;
mod transcribe;
mod types;
mod value;
pub mod write;

pub use excerpt::{Most, Selection};
pub use layout::Layout;
pub use lower::{CoreType, CoreValue, lift_result, lower_args, lower_value};
pub use method::{CREATE, MIGRATE, Method, Param};
pub use payload::{decode_args, decode_value, encode_args, encode_value, skip_value};
pub use place::{Place, Scalar};
pub use read::read_value;
pub use scalar::{from_bytes as scalar_bits, width as scalar_width};
pub use schema::Schema;
pub use store::{Lower, store};
pub use transcribe::{Sink, Unread, is_named};
pub use types::{
    Case, Enum, Field, Flags, Record, ResultType, Tuple, Type, Variant, option as option_layout,
};
pub use value::Value;
