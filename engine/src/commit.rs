//! From a letter to a version: what an object's turn does with its mail.
//!
//! `shared` is what all of it works on; `turn` takes letters, `commit` makes versions of them, and
//! objects begin by `create` and `fork`. It does not know who posts, nor who reads.

pub(crate) mod code;
pub(crate) mod commit;
pub(crate) mod create;
pub(crate) mod fork;
pub(crate) mod meet;
pub(crate) mod offered;
pub(crate) mod shared;
pub(crate) mod turn;
pub(crate) mod upgrade;
