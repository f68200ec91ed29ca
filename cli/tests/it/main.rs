//! The command line, through the real binary: see each module.
//!
//! - `arguments`: times, numbers and arguments from files, which are read whole or refused.
//! - `batches`: batches that were stopped, and resumed.
//! - `clocks`: objects that are ahead of the clock, and wakes that are overdue.
//! - `commands`: what each command prints, for people and as JSON; the README's commands.
//! - `empties`: what a command says that found nothing, or did nothing.
//! - `failures`: what goes wrong, with which words and which exit code.
//! - `demo`: the demo on small files, bad files, with other worker counts, and on its month.
//! - `evidence`: what a database or a backup has lost is said, and stays on record.
//! - `losses`: the demo killed at random moments: what was acknowledged is there.
//! - `sharing`: what happens when several processes want one database, what is read where nothing
//!   can be written, and on a full disk.
//! - `unprinted`: what is done where its receipt cannot be printed, and what is a warning alone.
//! - `upkeep`: backups, restoring, retention and compaction.
//! - `watching`: a database while it runs, on the spot and from a file.
//! - `hostile`: every command on text that a terminal would obey.
//! - `outputs`: files that commands read and write, and what is no plain file.
//! - `signals`: what SIGTERM, SIGINT and SIGHUP end, and how.
//! - `objects`, `terminal`: what the tests run, and how.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod arguments;
mod batches;
mod clocks;
mod commands;
mod demo;
mod empties;
mod evidence;
mod failures;
mod hostile;
mod losses;
mod objects;
mod outputs;
mod sharing;
mod signals;
mod terminal;
mod unprinted;
mod upkeep;
mod watching;
