//! The commit path: one input, from the mailbox to a version that is on its way to the disk.
//!
//! A failure before the append leaves no trace but a refusal. The reply is released when the
//! version is in memory and durable, or, for a relaxed call, when it is in memory; an append waits
//! for the disk only when the log is far behind.
//!
//! `commit` and `decide` have the steps in their order, with the numbers of ARCHITECTURE.md: the
//! first is in `turn`. This module does not know threads or queues.

use std::time::Instant;

use object::authentication::authenticate;
use object::credential::Host;
use object::input::Input;
use object::refusal::Verdict;
use storage::{Append, Fate, Taking};

use crate::commit::admitted::{Admitted, AdmittedStep};
use crate::commit::library::Library;
use crate::commit::record::{Asked, fail, put, refuse};
use crate::commit::shared::Shared;
use crate::commit::upgrade;
use crate::credentials::Credentials;
use crate::error::Result;
use crate::head::live::Live;
use crate::metrics::Registry;
use crate::run::resident::Resident;
use crate::step::guard::GuardRunner;
use crate::step::runner::Runner;
use crate::step::step::run;
use crate::step::stop::Stop;
use crate::substrate::StepLimits;

/// An object on its turn: its resident, its runner, and its state.
pub(crate) struct Turn<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) runner: Runner<'a>,
    pub(crate) resident: &'a Resident,
    pub(crate) live: &'a mut Live,
    /// Letters, and wakes before them, that the turn has taken so far.
    pub(crate) steps: &'a mut usize,
}

/// Makes the next version of an object from an input, or puts its refusal on record. The reply gets
/// the answer; returns the verdict, if the input was refused.
///
/// # Errors
///
/// The host or the store failed, so that there is no verdict.
pub(crate) fn commit(turn: &mut Turn<'_>, asked: Asked<'_>) -> Result<Option<Verdict>> {
    let Turn { shared, runner, resident, live, .. } = turn;
    let Shared { library, credentials, metrics, .. } = shared;
    let Asked { input, message, .. } = asked;
    // 2 to 7, in `decide`: verify the credentials, run the step, validate its state, admit it.
    let admitted = measured(library, credentials, metrics, runner, live, input).and_then(|step| {
        // Messages of a message's step are bounded by fuel, and must not stop their own delivery.
        let count = if message.is_some() { 0 } else { step.result.effects.messages.len() };
        library.has_room_for(count)?;
        // 8: make the header.
        Ok(Admitted::new(library, live, input, step)?)
    });
    let mut admitted = match admitted {
        Ok(admitted) => admitted,
        Err(Stop::Refused(verdict)) => {
            refuse(library, metrics, runner.stack, live, asked, verdict.clone())?;
            return Ok(Some(verdict));
        }
        Err(Stop::Failed(error)) => {
            return Err(fail(metrics, asked.reply, error.about(live.head.id)));
        }
    };
    // 8: append the frame to the open group of the log, which has the reply from then on.
    let receipt = admitted.receipt(live, input);
    let mut append = Append { changes: Vec::with_capacity(1), ..Append::default() };
    append.taken.extend(message.map(|id| Taking { id, fate: Fate::Delivered }));
    admitted.add_to(&mut append, live, input);
    debug_assert_eq!(append.changes.len(), 1, "an input makes one version");
    let early = put(&library.store, metrics, live.head.id, &append, asked.reply, Ok(receipt));
    let early = early.inspect_err(|_| live.stale = true)?;
    // 9: publish the version to readers, and tell the receivers of its messages.
    let seq = live.head.header.seq + 1;
    admitted.publish(shared, runner.stack, resident, live, input);
    assert_eq!(live.head.header.seq, seq, "an admitted input makes the next version");
    // 10: the log releases the reply when the group is durable; a relaxed one leaves now.
    early.send(Ok(()));
    Ok(None)
}

/// Verifies the credentials, runs the step under limits, and admits it. Changes only the slot,
/// which then holds the memory of the new version or, after an error, that of the head.
pub(crate) fn decide(
    runner: &mut Runner<'_>,
    live: &Live,
    input: &Input,
    limits: StepLimits,
    host: Host<'_>,
) -> Result<AdmittedStep, Stop> {
    let Runner { catalog, slots, stack } = runner;
    // 2: verify the credentials: signatures, expiry, nonce, parent.
    let tracked = live.definition.policy.tracked();
    let signers = authenticate(&live.head, tracked, input, host).map_err(Stop::Refused)?;
    // 3 to 5: load the object into a slot, run the step under fuel, collect its outcome.
    let (loaded, result) = run(&mut slots.objects, catalog, *stack, live.subject(limits), input)?;
    // 6 and 7: validate the state, and admit it: native rules, the object's policy, its guard.
    let guards = &mut GuardRunner::new(catalog, &mut slots.guards, *stack);
    match result.admit(&live.definition, &live.head, signers, input, &live.image, guards) {
        Ok(admission) => {
            // Without the code the slot still holds the image from before.
            match input.request.runs_code() {
                true => loaded.accept(&result.image),
                false => loaded.hold(&result.image)?,
            }
            Ok(AdmittedStep { result, root: loaded.root(), admission })
        }
        Err(stop) => {
            loaded.reject();
            Err(stop)
        }
    }
}

/// [Decides](with_secrets) on an input that is to be committed: counts, times and traces it.
pub(crate) fn measured(
    library: &Library,
    credentials: &Credentials,
    metrics: &Registry,
    runner: &mut Runner<'_>,
    live: &Live,
    input: &Input,
) -> Result<AdmittedStep, Stop> {
    let (object, request) = (live.head.id, &input.request);
    let (kind, action) = (request.kind().name(), request.action());
    let seq = live.head.header.seq + 1;
    let _step = tracing::debug_span!("step", %object, seq, kind, action).entered();
    let started = Instant::now();
    let done = with_secrets(library, credentials, runner, live, input);
    metrics.loads(runner.slots.objects.take_loads());
    if let Ok(AdmittedStep { result, .. }) = &done {
        metrics.step(started.elapsed());
        tracing::debug!(fuel = result.fuel, pages = result.changed.len(), "admitted");
    }
    done
}

/// [Decides](decide) on an input as a database does, which holds the secrets of sessions: without
/// the secret of the input's session there is no verdict.
pub(crate) fn with_secrets(
    library: &Library,
    credentials: &Credentials,
    runner: &mut Runner<'_>,
    live: &Live,
    input: &Input,
) -> Result<AdmittedStep, Stop> {
    let key = credentials.sessions.key(input)?;
    upgrade::prepare(library, runner.stack, &input.request)?;
    let host = Host::holding(&credentials.memo, key.as_ref());
    decide(runner, live, input, library.options.step_limits, host)
}
