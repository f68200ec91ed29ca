//! The seam between a store and its files: every byte that the store reads or writes passes here.
//!
//! [`LocalDisk`] is the file system. A test gives a store another [`Disk`], which fails, tears and
//! forgets as disks do. This module does not know the content of files, and decides nothing: the
//! caller interprets failures.
//!
//! Invariant: nothing else in this crate opens, writes, renames or removes a file.

pub(crate) mod directory;
pub(crate) mod file;
mod holder;
pub(crate) mod local;
pub(crate) mod nowhere;
pub(crate) mod overlay;

pub use file::{Disk, DiskFile};
pub use holder::LockHolder;
pub use local::LocalDisk;
