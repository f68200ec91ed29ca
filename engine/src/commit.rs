//! The way from a letter to a version: an object's turn with its mail.
//!
//! `shared` is the state that all of it works on; `turn` takes letters, `commit` makes versions of
//! them, and objects begin by `create` and `fork`. This folder does not know who posts, nor who
//! reads.

pub(crate) mod admitted;
pub(crate) mod code;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod fork;
pub(crate) mod library;
pub(crate) mod offered;
pub(crate) mod post;
pub(crate) mod record;
pub(crate) mod shared;
pub(crate) mod transaction;
pub(crate) mod turn;
pub(crate) mod upgrade;
