//! Admitted steps, and the versions that they make, with all parts that go to the log.
//!
//! This module does not know how a step is decided on, nor who waits for the version.

use std::collections::BTreeSet;
use std::sync::Arc;

use object::commit::Commit;
use object::effects::{Admission, Effects, encode_globals};
use object::hash::{MemoryRoot, ObjectId, VersionHash};
use object::head::EncodedPayloads;
use object::header::Header;
use object::input::{Input, Request};
use object::ledger::Ledger;
use policy::definition::Definition;
use schema::{Value, decode_value};
use storage::{Append, Blob, Change, Fate, MessageId, NewCommit, Sending, Taking};

use crate::answer::receipt::Receipt;
use crate::answer::ticket::Ticket;
use crate::commit::library::Library;
use crate::commit::post::DELETED;
use crate::commit::shared::Shared;
use crate::commit::upgrade::NewParts;
use crate::error::Result;
use crate::head::live::Live;
use crate::metrics::Count;
use crate::run::resident::Resident;
use crate::stack::DeepStack;
use crate::step::step::{NewCode, StepResult};

/// A step that was admitted.
pub(crate) struct AdmittedStep {
    pub(crate) result: StepResult,
    /// The root of the memory that it left.
    pub(crate) root: MemoryRoot,
    pub(crate) admission: Admission,
}

/// A version that was admitted, and all of its parts for the log.
pub(crate) struct Admitted {
    result: StepResult,
    header: Arc<Header>,
    hash: VersionHash,
    ledger: Arc<Ledger>,
    payloads: EncodedPayloads,
    new_globals: Option<Vec<u8>>,
    new_parts: NewParts,
    rules: Vec<String>,
    /// The messages on their way to an object that is deleted.
    undeliverable: Vec<MessageId>,
}

impl Admitted {
    /// Returns the version that an admitted step makes.
    pub(crate) fn new(
        library: &Library,
        live: &Live,
        input: &Input,
        step: AdmittedStep,
    ) -> Result<Admitted> {
        let AdmittedStep { result, root, admission } = step;
        let (outcome, head) = (live.outcome(&result, root), &live.head);
        let payloads = EncodedPayloads::encode(input, &result.effects, &admission);
        let (header, ledger) = head.successor_with(input, &outcome, &admission, &payloads);
        let new_code = result.new_code.as_ref();
        let globals =
            new_code.map_or(&live.globals[..], |new_code| new_code.image.base().globals());
        Ok(Admitted {
            payloads,
            new_globals: (result.globals != globals).then(|| encode_globals(&result.globals)),
            new_parts: NewParts::of(library, &result.definition, new_code)?,
            undeliverable: match input.request {
                Request::Delete => library.store.messages_to(head.id),
                _ => Vec::new(),
            },
            rules: admission.rules.into_iter().chain(admission.migrated).collect(),
            result,
            hash: header.hash(),
            header: header.into(),
            ledger,
        })
    }

    /// The number of its messages.
    pub(crate) fn message_count(&self) -> usize {
        self.result.effects.messages.len()
    }

    /// Adds its changes of the object to an append.
    pub(crate) fn add_to<'a>(&'a self, append: &mut Append<'a>, live: &'a Live, input: &'a Input) {
        let commit = Commit {
            header: Header::clone(&self.header),
            input: &self.payloads.input,
            effects: &self.payloads.effects,
            admission: &self.payloads.admission,
            globals: self.new_globals.as_deref(),
            pages: self.result.pages().collect(),
        };
        let is_new = !Arc::ptr_eq(&self.ledger, &live.head.ledger);
        let (hash, ledger) = (self.hash, Some(&self.ledger).filter(|_| is_new));
        let (base, before) = match &self.result.new_code {
            Some(NewCode { runnable, image }) => (Some(runnable.base_hash), Some(image)),
            None => (None, Some(&live.image)),
        };
        let change = NewCommit { commit, hash, base, secret: None, ledger, before };
        append.blobs.extend(self.new_parts.blobs());
        append.changes.push(Change::Commit(change));
        if let Request::Amend { policy } = &input.request {
            append.blobs.push(Blob::Policy(policy));
        }
        append.sent.extend(sending(self.hash, &self.result.effects));
        let dead = || Fate::Dead(DELETED.to_string());
        append.taken.extend(self.undeliverable.iter().map(|id| Taking { id: *id, fate: dead() }));
    }

    /// Returns the caller's receipt. Call it once: it takes the names of the rules.
    pub(crate) fn receipt(&mut self, live: &Live, input: &Input) -> Receipt {
        let rules = std::mem::take(&mut self.rules);
        receipt(&live.definition, self.hash, &self.header, input, &self.result, rules)
    }

    /// Makes it the object's newest version, now that it is in the log.
    pub(crate) fn publish(
        self,
        shared: &Shared,
        stack: DeepStack,
        resident: &Resident,
        live: &mut Live,
        input: &Input,
    ) {
        let (armed, receivers) = (live.armed(), receivers(&self.result.effects));
        shared.metrics.version(self.header.kind, self.result.effects.messages.len());
        if live.missed.is_some() {
            shared.library.overdue.remove(live.head.id);
        }
        if self.new_parts.has_code() {
            shared.library.offered.forget(self.header.code);
        }
        live.advance_to(self.hash, self.header, self.ledger, self.result);
        if matches!(input.request, Request::Amend { .. }) {
            // Objects that were given the same policy have one between them.
            live.definition = shared.library.catalog.share(stack, Arc::clone(&live.definition));
        }
        shared.residents.publish(resident, live);
        if live.head.header.wake != armed {
            shared.post.timer.change(live.head.id, armed, live.head.header.wake);
        }
        self.undeliverable.iter().for_each(|_| shared.metrics.count(Count::MessagesDead));
        // Some to an object that is deleted may have been sent since.
        let deleted = live.head.deleted().map(|_| live.head.id);
        shared.post.post_mail(receivers.into_iter().chain(deleted));
    }
}

/// Returns the messages of a version, as they go on their way, if there are any.
pub(crate) fn sending(version: VersionHash, effects: &Effects) -> Option<Sending> {
    let receivers: Vec<ObjectId> = effects.messages.iter().map(|message| message.to).collect();
    (!receivers.is_empty()).then_some(Sending { version, receivers })
}

/// Returns the receivers of messages, each once.
pub(crate) fn receivers(effects: &Effects) -> BTreeSet<ObjectId> {
    effects.messages.iter().map(|message| message.to).collect()
}

/// Returns the caller's receipt.
pub(crate) fn receipt(
    definition: &Definition,
    version: VersionHash,
    header: &Header,
    input: &Input,
    step: &StepResult,
    rules: Vec<String>,
) -> Receipt {
    let result = result(definition, &input.request, &step.effects);
    let result = result.expect("the step encoded it with the same type");
    Receipt {
        object: header.object_id(),
        version,
        header: header.clone(),
        result,
        rules,
        ticket: Ticket::DURABLE,
        messages: step.effects.messages.clone(),
        outputs: step.effects.outputs.clone(),
    }
}

/// The result of the method that a request calls, if it has one.
pub(crate) fn result(
    definition: &Definition,
    request: &Request,
    effects: &Effects,
) -> object::Result<Option<Value>> {
    let Some((method, _)) = request.called() else { return Ok(None) };
    let ty = definition.schema.method(method).and_then(|method| method.result.as_ref());
    ty.map(|ty| decode_value(&effects.result, ty)).transpose()
}
