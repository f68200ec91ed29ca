//! The policy of an object: Cedar rules that decide which changes are admitted, over the facts of a
//! step, validated against the object's own schema.
//!
//! A step is refused unless a rule permits it, if a rule forbids it, and if any rule fails on it:
//! Cedar itself would skip a failing `forbid`. The rules are compiled as well, and
//! [`Policy::decide_raw`] gives the same decision as Cedar's own authorizer, much sooner, on nearly
//! every step.
//!
//! Beside its rules a policy may carry a guard, a module that is asked about each step that the
//! rules permit. Nothing here can run it, nor tell whether it is a module.
//!
//! [`admission`] decides on a step by all that, and [`verify`] recomputes a lineage. Nothing here
//! knows how a step is run. Cedar is named only in `cedar`.
//!
//! # Stack
//!
//! Cedar's parser and evaluator need stack in proportion to an expression's depth. So the text is
//! held to a profile, and whatever parses a policy, decides by Cedar, explains a decision, verifies
//! a record or drops a policy runs on a thread with [`STACK_BYTES`] of stack; the verdict is then
//! the same everywhere. With less of it the process may end. These are the functions:
//!
//! - [`Policy::parse`], [`Policy::decode`], [`Policy::decide`], [`derived_schema`];
//! - [`Definition::new`](definition::Definition::new) and
//!   [`Definition::decode`](definition::Definition::decode);
//! - [`admission::admit`], [`admission::admit_upgrade`], [`admission::explain`],
//!   [`admission::explain_upgrade`], [`admission::decide_by_cedar`];
//! - [`Read::decide_by_cedar`](reading::Read::decide_by_cedar), and the methods of
//!   [`Verifier`](verify::Verifier);
//! - dropping a [`Policy`], or the last reference to a definition that has it.
//!
//! ```
//! use continuant_policy::{Policy, STACK_BYTES};
//!
//! # const WIT: &str = "package a:b;\ninterface c {\n    record state { count: u64 }\n}\n";
//! # let schema = schema::Schema::parse(WIT).unwrap();
//! let text = "@id(\"open\") permit(principal, action, resource);";
//! let parse = move || Policy::parse(text, &schema).map(|policy| policy.hash());
//! let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(parse).unwrap();
//! println!("{}", thread.join().unwrap().unwrap());
//! ```
//!
//! Invariant: a `Policy` is within the profile and strictly valid for its schema; a new one is held
//! to more, by [`Policy::validate`].

mod action;
pub mod admission;
mod argument;
mod cedar;
mod decision;
pub mod definition;
mod derived;
mod explain;
mod fact;
mod facts;
mod form;
pub mod guard;
mod law;
mod policy;
mod profile;
mod program;
pub mod reading;
mod shape;
pub mod verify;

pub use decision::{Decision, Refusal};
pub use explain::{Explanation, Reading, Rule};
pub use facts::{Facts, Principal, Values};
pub use guard::Guard;
pub use law::Law;
pub use policy::{Policy, Ruling, STACK_BYTES, derived_schema};
pub use program::Raw;
