//! Rows: the facts about the newest version of each object, in memory and in the index.
//!
//! This module does not know how frames are written.

pub(crate) mod evidence;
pub(crate) mod heads;
pub(crate) mod index;
pub(crate) mod info;
pub(crate) mod ledgers;
pub(crate) mod messages;
pub(crate) mod pages;
pub(crate) mod projector;
pub(crate) mod row;
pub(crate) mod row_cache;
