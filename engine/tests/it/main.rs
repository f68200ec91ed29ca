//! Integration tests of the engine: public API only.
//!
//! - `amendments`: policies that are amended, and rules about the record.
//! - `bad_input`: modules, policies, directories and capsules that are invalid.
//! - `clocks`: objects that are ahead of the clock, which opens nothing.
//! - `code_cache`: code that a second process does not compile again, and damaged or foreign files.
//! - `credentials`: signatures: each counts once, in time, in order.
//! - `cycles`: wakes, on both clocks, across restarts.
//! - `deletion`: objects that are deleted, what goes with them, and what is asked of them later.
//! - `disk`: a disk that waits, fails and forgets when a test says so.
//! - `durability`: replies before and after the disk is done, and power cuts.
//! - `examples`: the programs of engine/examples, and their output.
//! - `explain`: the rules that decided, on record and in dry runs.
//! - `forks`: objects that begin as a copy of a version of another.
//! - `fuzz`: broken invariants, and the least inputs that break them.
//! - `guards`: policies with a guard, asked, amended, replayed and forged.
//! - `guests`: the committed objects of guest/objects, each with its policy.
//! - `history`: any version, diffs, blame, refusals, names.
//! - `limits`: a database's limits for steps and callers, below those of the formats.
//! - `lineage`: verification, replay and capsules, and tampering with them.
//! - `lists`: lists of objects, filtered, in pages.
//! - `messages`: messages between objects: delivered once, in order, and never lost.
//! - `metrics`: counters, the forms that programs read, and spans.
//! - `moves`: objects that move from one database to another, and come back.
//! - `objects`: the objects that the tests run.
//! - `readers`: the fields that principals may read.
//! - `rules`: the committed objects that show the kinds of rule, the price and the vault.
//! - `salts`: of the hashes of payloads, and of memories.
//! - `scheduling`: the order of work, closing, and databases without workers.
//! - `sessions`: sessions that are opened by signatures, used in place of them, and end.
//! - `steps`: the effects of a call, and none of a refused one.
//! - `tidy`: the walls of the house style, over the whole tree.
//! - `transactions`: calls of several objects, together or not at all.
//! - `upgrades`: objects that continue with other code, one or many.
//! - `views`: typed views of states, and the cost of reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod amendments;
mod bad_input;
mod clocks;
mod code_cache;
mod credentials;
mod cycles;
mod deletion;
mod disk;
mod durability;
mod examples;
mod explain;
mod forks;
mod fuzz;
mod guards;
mod guests;
mod history;
mod limits;
mod lineage;
mod lists;
mod messages;
mod metrics;
mod moves;
mod objects;
mod readers;
mod rules;
mod salts;
mod scheduling;
mod sessions;
mod steps;
mod tidy;
mod transactions;
mod upgrades;
mod views;
