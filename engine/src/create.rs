//! Creation: from a module, a policy and arguments to an object's genesis in the log.
//!
//! The counterpart of the commit path for version 0. Nothing governs it but its own validity: what
//! the object is, its id commits to. It does not know how the caller waits.

use std::sync::Arc;

use object::commit::Commit;
use object::definition::Definition;
use object::effects::{Admission, encode_globals};
use object::hash::ObjectId;
use object::head::Head;
use object::image::Image;
use object::input::{Input, Request};
use object::memory::Tree;
use object::schema::encode_args;
use storage::{Append, Blob, Change, NewCommit};

use crate::call::Code;
use crate::catalog::Runnable;
use crate::commit::receipt;
use crate::error::{Error, ErrorKind, Result};
use crate::reply::Reply;
use crate::resident::Live;
use crate::shared::Shared;
use crate::slots::Slots;
use crate::step::{Ran, Stop, run};

/// Makes an object's genesis, appends it, and takes the object into memory. The reply is released
/// when it is durable.
pub(crate) fn create(
    shared: &Shared,
    slots: &mut Slots,
    code: Code,
    time: u64,
    reply: Reply,
) -> Result<ObjectId> {
    let definition = shared.catalog().define(&code.wasm, code.law())?;
    let memory_bytes_max = shared.options().memory_bytes_max;
    let read = || Ok(code.wasm.to_vec());
    let runnable = shared.catalog().runnable(&definition, memory_bytes_max, read)?;
    let input = input(&definition, &code, time)?;
    input.validate()?;

    let (live, ran) = match genesis(slots, definition, &runnable, &input) {
        Ok(made) => made,
        Err(Stop::Refused(verdict)) => {
            return Err(ErrorKind::Refused { verdict, recorded: false }.into());
        }
        Err(Stop::Failed(error)) => return Err(error),
    };
    let (definition, header) = (&live.definition, &live.head.header);
    let (id, wake) = (live.head.id, header.wake);
    let receipt = receipt(definition, (live.head.hash, header), &input, &ran, Vec::new());
    let done = move |durable: storage::Result<()>| {
        reply.send(durable.map(|()| receipt).map_err(Error::from));
    };
    append(shared, &code, definition, &runnable, (&live.head, &input, &ran), done)?;
    shared.insert(live);
    shared.timer().change(id, None, wake);
    Ok(id)
}

/// Runs a creation: what it takes to make the version that follows, and what the step left.
pub(crate) fn genesis(
    slots: &mut Slots,
    definition: Arc<Definition>,
    runnable: &Runnable,
    input: &Input,
) -> Result<(Live, Ran), Stop> {
    let image = Image::new(Arc::clone(&runnable.base));
    let loaded = slots.objects.load(definition.code.hash, &runnable.code, &image)?;
    let ran = run(loaded, &definition, &image, runnable.base.globals(), input)?;
    loaded.accept(&ran.image);
    definition.schema.validate_state(&ran.image, definition.code.state_address)?;

    let mut tree = Tree::clone(&runnable.tree);
    tree.update(&ran.image, &ran.changed);
    let head = Head::new(object::head::genesis(input, &ran.outcome(&tree, ran.globals_hash())));
    let code = Arc::clone(&runnable.code);
    let (image, globals) = (ran.image.clone(), ran.globals.clone());
    let (missed, refusers, stale) = (None, None, false);
    Ok((Live { definition, code, head, image, tree, globals, missed, refusers, stale }, ran))
}

fn input(definition: &Definition, code: &Code, time: u64) -> Result<Input> {
    let params = definition.schema.create().map_or(&[][..], |create| &create.params);
    let arguments = encode_args(&code.arguments, params)?;
    let salt = match code.salt {
        Some(salt) => salt,
        None => {
            let mut salt = [0; 16];
            let filled = getrandom::fill(&mut salt);
            filled.map_err(|error| ErrorKind::Substrate(format!("random bytes: {error}")))?;
            salt
        }
    };
    Ok(Input { request: Request::Create { salt, arguments }, time, credential: None })
}

fn append(
    shared: &Shared,
    code: &Code,
    definition: &Definition,
    runnable: &Runnable,
    (head, input, ran): (&Head, &Input, &Ran),
    done: impl FnOnce(storage::Result<()>) + Send + 'static,
) -> Result<()> {
    let globals = (ran.globals != runnable.base.globals()).then(|| encode_globals(&ran.globals));
    let commit = Commit {
        header: head.header.clone(),
        input: &input.encode(),
        effects: &ran.effects.encode(),
        admission: &Admission::default().encode(),
        globals: globals.as_deref(),
        pages: ran.pages().collect(),
    };
    let (policy, base) = (definition.policy.encode(), runnable.base.encode());
    let (base_hash, before) = (Some(runnable.base_hash), Image::new(Arc::clone(&runnable.base)));
    let (hash, before) = (head.hash, Some(&before));
    let change = NewCommit { commit, hash, base: base_hash, ledger: None, before };
    let append = Append {
        blobs: vec![Blob::Code(&code.wasm), Blob::Policy(&policy), Blob::Base(&base)],
        changes: vec![Change::Commit(change)],
        names: code.name.iter().map(|name| (name.as_str(), head.id)).collect(),
    };
    shared.store().append(&append, done)?;
    Ok(())
}
