//! Integration tests of the engine: public API only.
//!
//! - `amendments`: policies that change, and rules about what is on record.
//! - `bad_input`: modules, policies, directories and capsules that are not as they must be.
//! - `clocks`: objects that are ahead of the clock, and what that opens, which is nothing.
//! - `code_cache`: what a second process compiles, and files that are not as they were written.
//! - `credentials`: who signed, once, in time, in order.
//! - `cycles`: wakes, on both clocks, across restarts.
//! - `disk`: a disk that waits, fails and forgets when a test says so.
//! - `durability`: replies before and after the disk is done, and what a power cut undoes.
//! - `examples`: the programs of engine/examples, each run, and what it prints.
//! - `explain`: what decided, on record and in dry runs.
//! - `forks`: objects that begin as a version of another.
//! - `fuzz`: invariants that are broken, and the least inputs that break them.
//! - `guards`: policies with a guard, asked, amended, replayed and forged.
//! - `guests`: the committed objects of guest/objects, each with its policy.
//! - `history`: any version, diffs, blame, refusals, names.
//! - `limits`: what a database gives steps and takes of callers, below what the formats allow.
//! - `lineage`: verification, replay, capsules, and what tampering does to them.
//! - `lists`: which objects there are, narrowed down, in pages.
//! - `messages`: what one object asks of another, once, in order, and never lost.
//! - `metrics`: what is counted, the forms that programs read, and spans.
//! - `moves`: objects that go from one database to another, and come back.
//! - `objects`: the objects that the tests run.
//! - `readers`: what principals may read.
//! - `rules`: the committed objects that show the kinds of rule, the price and the vault.
//! - `scheduling`: whose turn it is, what closing ends, and databases without workers.
//! - `sessions`: opened by signatures, used in place of them, and over.
//! - `steps`: what a call leaves, and what a refused one does not.
//! - `tidy`: the walls of the house style, over the whole tree.
//! - `transactions`: calls of several objects, together or not at all.
//! - `upgrades`: objects that go on with other code, one or many.
//! - `views`: typed views of states, and what reads cost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod amendments;
mod bad_input;
mod clocks;
mod code_cache;
mod credentials;
mod cycles;
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
mod scheduling;
mod sessions;
mod steps;
mod tidy;
mod transactions;
mod upgrades;
mod views;
