//! Creation: from a module, a policy and arguments to an object's genesis in the log.
//!
//! It is the counterpart of the commit path for version 0. Only its own validity governs a
//! creation: the id commits to all parts of the object. This module does not know how the caller
//! waits.

use std::sync::Arc;

use object::commit::Commit;
use object::effects::{Admission, encode_globals};
use object::hash::ObjectId;
use object::head::Head;
use object::header::Header;
use object::image::Image;
use object::input::{Input, Request};
use object::secret::{SECRET_BYTES, Secret};
use object::time::Time;
use policy::definition::Definition;
use schema::encode_args;
use storage::{Append, Blob, Change, NewCommit};

use crate::answer::reply::Reply;
use crate::commit::admitted::{receipt, receivers, sending};
use crate::commit::code::Code;
use crate::commit::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::head::live::Live;
use crate::step::catalog::Runnable;
use crate::step::runner::Runner;
use crate::step::step::{StepResult, Subject, run};
use crate::step::stop::Stop;
use crate::substrate::StepLimits;

/// Makes an object's genesis, appends it, and takes the object into memory. The reply is released
/// when it is durable.
pub(crate) fn create(
    shared: &Shared,
    mut runner: Runner<'_>,
    code: Code,
    time: Time,
    reply: Reply,
) -> Result<ObjectId> {
    let definition = shared.library.catalog.define(runner.stack, &code.wasm, code.law())?;
    let memory_bytes_max = shared.options.memory_bytes_max;
    let read = || Ok(code.wasm.to_vec());
    let runnable =
        shared.library.catalog.runnable(runner.stack, &definition, memory_bytes_max, read)?;
    let drawn = code.secret.map_or_else(drawn, Ok)?;
    let (input, secret) = (input(&definition, &code, &drawn, time)?, Secret::new(drawn));
    input.validate()?;
    shared.options.validate(&input)?;

    let limits = shared.options.step_limits;
    let made = genesis(&mut runner, definition, &runnable, (&input, &secret), limits);
    shared.metrics.loads(runner.slots.objects.take_loads());
    let (live, result) = match made {
        Ok(made) => made,
        Err(Stop::Refused(verdict)) => {
            shared.metrics.refusal(verdict.reason);
            return Err(ErrorKind::Refused { verdict, recorded: false }.into());
        }
        Err(Stop::Failed(error)) => return Err(error),
    };
    shared.library.has_room_for(result.effects.messages.len())?;
    let (policy, base) = (live.definition.policy.encode(), runnable.base.encode());
    let append = Append {
        blobs: vec![Blob::Code(&code.wasm), Blob::Policy(&policy), Blob::Base(&base)],
        names: code.name.iter().map(|name| (name.as_str(), live.head.id)).collect(),
        ..Append::default()
    };
    let beginning = Beginning { live, result: &result, input: &input, secret: &secret };
    begin(shared, &runnable, beginning, append, reply)
}

/// An object that begins: its state behind the genesis, the outcome of that, the input and the
/// secret.
pub(crate) struct Beginning<'a> {
    pub(crate) live: Live,
    pub(crate) result: &'a StepResult,
    pub(crate) input: &'a Input,
    pub(crate) secret: &'a Secret,
}

/// Appends a genesis, beside the other content of `append`, and takes the object into memory.
pub(crate) fn begin<'a>(
    shared: &Shared,
    runnable: &'a Runnable,
    Beginning { live, result, input, secret }: Beginning<'a>,
    append: Append<'a>,
    reply: Reply,
) -> Result<ObjectId> {
    let (id, hash) = (live.head.id, live.head.hash);
    let header = Header::clone(&live.head.header);
    let (kind, wake) = (header.kind, header.wake);
    let receipt = receipt(&live.definition, hash, &header, input, result, Vec::new());
    let done = move |durable: storage::Result<()>| {
        reply.send(durable.map(|()| receipt).map_err(Error::from));
    };
    let globals =
        (result.globals != runnable.base.globals()).then(|| encode_globals(&result.globals));
    let (input, effects) = (input.encode(), result.effects.encode());
    let admission = Admission::default().encode();
    let before = Image::new(Arc::clone(&runnable.base));
    let commit = Commit {
        header,
        input: &input,
        effects: &effects,
        admission: &admission,
        globals: globals.as_deref(),
        pages: result.pages().collect(),
    };
    let (base, before) = (Some(runnable.base_hash), Some(&before));
    let mut append: Append<'_> = append;
    let change = NewCommit { commit, hash, base, secret: Some(secret), ledger: None, before };
    append.changes.push(Change::Commit(change));
    append.sent.extend(sending(hash, &result.effects));
    shared.library.store.append(&append, done)?;
    drop(append);
    shared.metrics.version(kind, result.effects.messages.len());
    shared.residents.insert(live, &shared.metrics);
    shared.post.timer.change(id, None, wake);
    shared.post.post_mail(receivers(&result.effects));
    Ok(id)
}

/// Runs a creation, and returns the object as its next step needs it, with the step's outcome.
pub(crate) fn genesis(
    runner: &mut Runner<'_>,
    definition: Arc<Definition>,
    runnable: &Arc<Runnable>,
    (input, secret): (&Input, &Secret),
    limits: StepLimits,
) -> Result<(Live, StepResult), Stop> {
    let Runner { catalog, slots, stack } = runner;
    let image = Image::new(Arc::clone(&runnable.base));
    let (definition, globals) = (&definition, runnable.base.globals());
    let subject = Subject { definition, runnable, image: &image, globals, limits };
    let (loaded, result) = run(&mut slots.objects, catalog, *stack, subject, input)?;
    loaded.accept(&result.image);
    definition.schema.validate_state(&result.image, definition.code.state_address)?;

    let outcome = result.outcome(loaded.root(), result.globals_hash());
    let head = Head::new(object::head::genesis(input, &outcome, secret), secret.clone());
    Ok((Live::new(result.clone(), head, Arc::clone(runnable)), result))
}

fn input(
    definition: &Definition,
    code: &Code,
    drawn: &[u8; SECRET_BYTES],
    time: Time,
) -> Result<Input> {
    let params = definition.schema.create().map_or(&[][..], |create| &create.params);
    let arguments = encode_args(&code.arguments, params)?;
    let salt = Secret::image_salt(drawn);
    Ok(Input { request: Request::Create { salt, arguments }, time, credential: None })
}

/// Draws the secret of an object.
pub(crate) fn drawn() -> Result<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    let filled = getrandom::fill(&mut secret);
    filled.map_err(|error| ErrorKind::Substrate(format!("random bytes: {error}")))?;
    Ok(secret)
}
