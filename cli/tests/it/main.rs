//! The command line, through the real binary: see each module.
//!
//! - `arguments`: times, numbers and arguments from files, which are read whole or refused.
//! - `batches`: batches that were stopped, and resumed.
//! - `clocks`: objects that are ahead of the clock, and wakes that are overdue.
//! - `commands`: the output of each command, for people and as JSON.
//! - `documents`: the commands of README and of the guide, run as they stand.
//! - `empties`: commands that found nothing, or did nothing.
//! - `failures`: failures, with their words and exit codes.
//! - `demo`: the demo on small files, bad files, with other worker counts, and on its month.
//! - `evidence`: losses of a database or a backup are reported, and stay on record.
//! - `keys`: keys of other programs, and keys for them.
//! - `names`: names that change hands, and who had them; objects that are deleted.
//! - `losses`: the demo killed at random moments: every acknowledged commit is there.
//! - `sharing`: several processes that want one database, directories that cannot be written, and
//!   full disks.
//! - `unprinted`: durable work whose receipt cannot be printed, and warnings.
//! - `upkeep`: backups, restoring, retention and compaction.
//! - `watching`: a database while it runs, on the spot and from a file.
//! - `generated`: completions for shells, and manual pages.
//! - `hostile`: every command on text that a terminal would obey.
//! - `outputs`: files that commands read and write, plain and other ones.
//! - `signals`: the effects of SIGTERM, SIGINT and SIGHUP.
//! - `objects`, `terminal`: the tests' objects, and the way to run commands.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod arguments;
mod batches;
mod clocks;
mod commands;
mod demo;
mod documents;
mod empties;
mod evidence;
mod failures;
mod generated;
mod hostile;
mod keys;
mod losses;
mod names;
mod objects;
mod outputs;
mod sharing;
mod signals;
mod terminal;
mod unprinted;
mod upkeep;
mod watching;
