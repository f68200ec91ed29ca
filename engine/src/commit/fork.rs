//! Forks: from a version of an object to another object's genesis.
//!
//! A fork is the counterpart of a creation for objects that begin as a copy of another one's
//! version: with its memory, its globals, its code and its policy. Only its own validity governs a
//! fork: the id commits to all parts of the object. This module does not know how the caller waits.

use std::sync::Arc;

use object::effects::Effects;
use object::hash::ObjectId;
use object::head::{Head, genesis};
use object::header::Header;
use object::input::{Input, Request};
use object::secret::Secret;
use storage::Append;

use crate::answer::reply::Reply;
use crate::commit::create::{Beginning, begin, drawn};
use crate::commit::shared::Shared;
use crate::error::{ErrorKind, Result};
use crate::head::live::Live;
use crate::stack::DeepStack;
use crate::step::step::StepResult;

/// The choice whether a fork keeps the next wake of its original version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakes {
    Yes,
    No,
}

/// The parameters of a fork.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fork<'a> {
    /// The object that it is of, and the seq of the version.
    pub(crate) of: ObjectId,
    pub(crate) seq: u64,
    pub(crate) name: Option<&'a str>,
    pub(crate) wakes: Wakes,
}

/// Makes an object from the version of another with this seq, unless that is ahead of the clock: a
/// fork is not older than its original. The reply is released when it is durable.
pub(crate) fn fork(
    shared: &Shared,
    stack: DeepStack,
    Fork { of: id, seq, name, wakes }: Fork<'_>,
    reply: Reply,
) -> Result<ObjectId> {
    let info = shared.library.store.info(id)?.ok_or(ErrorKind::NoObject)?;
    if let Some(at) = info.deleted {
        return Err(ErrorKind::Deleted { at }.into());
    }
    let Some(stored) = shared.library.store.head_at(id, seq)? else {
        let newest = info.seq;
        return Err(ErrorKind::NoVersion { asked: format!("seq {seq}"), newest }.into());
    };
    let Live { definition, runnable, head, image, globals, .. } =
        shared.library.live(stack, stored)?;
    let of = Header::clone(&head.header);
    if let Some(by) = shared.ahead(of.time) {
        return Err(shared.is_ahead(by));
    }
    let effects = match wakes {
        Wakes::Yes => Effects::of_fork(&of),
        Wakes::No => Effects::of_fork_without_wake(&of),
    };
    let fuel = 0;
    let time = shared.options.clock.now().max(of.time);
    let secret = Secret::new(drawn()?);
    let request = Request::Fork { of: Box::new(of) };
    let input = Input { request, time, credential: None };
    let changed = image.changed_pages().iter().map(|(index, _)| *index).collect();
    let new_code = None;
    let result = StepResult { image, changed, effects, fuel, globals, definition, new_code };
    let outcome = result.outcome(head.header.memory_root, result.globals_hash());
    let head = Head::new(genesis(&input, &outcome, &secret), secret.clone());
    let names = name.iter().map(|name| (*name, head.id)).collect();
    let live = Live::new(result.clone(), head, Arc::clone(&runnable));
    let beginning = Beginning { live, result: &result, input: &input, secret: &secret };
    begin(shared, &runnable, beginning, Append { names, ..Append::default() }, reply)
}
