//! The examples of the READMEs and of the guide, compiled and run as they stand.
//!
//! They are here and not in the crate that they show, because a package of that has no file from
//! outside of its folder.

#![cfg(doctest)]

#[doc = include_str!("../README.md")]
struct Readme;
#[doc = include_str!("../engine/README.md")]
struct ReadmeOfTheCrate;
#[doc = include_str!("concepts.md")]
struct Concepts;
#[doc = include_str!("policies.md")]
struct Policies;
#[doc = include_str!("upgrades.md")]
struct Upgrades;
#[doc = include_str!("messages.md")]
struct Messages;
#[doc = include_str!("operations.md")]
struct Operations;
