//! One step: the object's code runs an input in a slot, up to the resulting memory and effects.
//! Other code decides whether that becomes a version.
//!
//! The commit path and the replay run steps by this one function, so that they cannot differ.
//!
//! Invariant: after an error, of either kind, the slot holds the image from before.

use std::sync::Arc;
use std::time::Duration;

use object::credential::PublicKey;
use object::effects::{Admission, Effects, Output, WakeChange};
use object::hash::{CodeHash, GlobalsHash, MemoryRoot, PolicyHash};
use object::head::{Head, Outcome};
use object::image::Image;
use object::input::{IMAGE_SALT_BYTES, Input, Request};
use object::limits::{EFFECTS_BYTES_MAX, FUEL_MAX, PAGE_BYTES};
use object::memory::{Memory, Page};
use object::refusal::{Reason, Verdict};
use policy::Policy;
use policy::admission::{Laws, Step, admit, admit_upgrade, require_migration};
use policy::definition::Definition;
use schema::{self, CoreValue, Lower, MIGRATE, Method};

use crate::error::Result;
use crate::instrument::{INITIALIZE_EXPORT, INSTRUMENTATION_VERSION};
use crate::stack::DeepStack;
use crate::step::catalog::{Catalog, Runnable, validate_guard};
use crate::step::guard::GuardRunner;
use crate::step::host_limit;
use crate::step::slots::{Instances, LoadedSlot};
use crate::step::stop::Stop;
use crate::substrate::{self, HostLimit, StepContext, StepError, StepLimits, Trap};

/// The outcome of a step.
#[derive(Clone)]
pub(crate) struct StepResult {
    pub(crate) image: Image,
    /// The pages that differ from before, ascending.
    pub(crate) changed: Vec<u32>,
    pub(crate) effects: Effects,
    pub(crate) fuel: u64,
    pub(crate) globals: Vec<u64>,
    /// The object's definition after the step: the same as before, except after an amendment or an
    /// upgrade.
    pub(crate) definition: Arc<Definition>,
    /// The new code, after an upgrade: the memory and the globals begin there.
    pub(crate) new_code: Option<NewCode>,
}

/// The code and base image with which an upgrade begins.
#[derive(Clone)]
pub(crate) struct NewCode {
    pub(crate) runnable: Arc<Runnable>,
    /// The code's base image, from which the changed pages differ.
    pub(crate) image: Image,
}

/// An object at the version that a step follows, and the limits of the step.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) definition: &'a Arc<Definition>,
    pub(crate) runnable: &'a Arc<Runnable>,
    pub(crate) image: &'a Image,
    pub(crate) globals: &'a [u64],
    pub(crate) limits: StepLimits,
}

impl StepResult {
    /// The pages that differ from before, with their bytes.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (u32, &Page)> {
        self.changed.iter().map(|&index| (index, self.image.page(index)))
    }

    /// Returns the step for a decision: `input` on the image `before`.
    pub(crate) fn of<'a>(&'a self, input: &'a Input, before: &'a Image) -> Step<'a, Image, Image> {
        Step {
            input,
            before,
            after: &self.image,
            effects: &self.effects,
            fuel: self.fuel,
            page_count: self.changed.len() as u32,
            instrumentation: INSTRUMENTATION_VERSION,
            policy: self.definition.policy.hash(),
        }
    }

    /// Has it decided on by the policy of `definition` and, when it is an upgrade, by the new one.
    pub(crate) fn admit(
        &self,
        definition: &Definition,
        head: &Head,
        signers: Vec<PublicKey>,
        input: &Input,
        before: &Image,
        guards: &mut GuardRunner<'_>,
    ) -> Result<Admission, Stop> {
        let step = self.of(input, before);
        match self.new_code {
            Some(_) => {
                let laws = Laws { before: definition, after: &self.definition };
                admit_upgrade(laws, head, signers, step, guards)
            }
            None => admit(definition, head, signers, step, guards),
        }
    }

    /// The hash of the globals that it leaves.
    pub(crate) fn globals_hash(&self) -> GlobalsHash {
        object::effects::globals_hash(&self.globals)
    }

    /// Returns the outcome of the step for a header; `memory_root` is that of its image, `globals`
    /// the hash of the resulting globals.
    pub(crate) fn outcome(&self, memory_root: MemoryRoot, globals: GlobalsHash) -> Outcome<'_> {
        Outcome {
            effects: &self.effects,
            instrumentation: INSTRUMENTATION_VERSION,
            fuel: self.fuel,
            memory_bytes: self.image.bytes_count(),
            memory_root,
            page_count: self.changed.len() as u32,
            globals,
            parts: self.definition.parts(),
            tracked: self.definition.policy.tracked(),
        }
    }
}

/// Runs `input` on an object in the slot that holds its image, or, for an upgrade to parts that
/// `catalog` knows, in one that holds the new code's base image.
pub(crate) fn run<'s>(
    instances: &'s mut Instances,
    catalog: &Catalog,
    _: DeepStack,
    subject: Subject<'_>,
    input: &Input,
) -> Result<(&'s mut LoadedSlot, StepResult), Stop> {
    let Subject { definition, runnable, image, globals, .. } = subject;
    let (loaded, result) = match &input.request {
        Request::Upgrade { code, policy } => {
            return upgrade(instances, catalog, subject, (*code, *policy), input);
        }
        request => {
            let loaded = instances.load(runnable, image)?;
            let result = match request {
                Request::Write { fields } => write(definition, image, globals, fields),
                Request::Amend { policy } => amend(definition, image, globals, policy),
                // None runs code; a fork comes here only if it is forged.
                Request::Fork { .. } | Request::OpenSession { .. } | Request::Delete => {
                    let effects = Effects::without_code(request);
                    Ok(StepResult { effects, ..unchanged(definition, image, globals) })
                }
                _ => invoked(loaded, subject, input, |loaded| {
                    if let Request::Create { salt, .. } = request {
                        put_salt(loaded, runnable, salt);
                        initialize(loaded, runnable)?;
                    }
                    called(loaded, definition, input)
                }),
            };
            (loaded, result)
        }
    };
    Ok((loaded, result?))
}

/// Upgrades: the new code's `migrate` makes a memory, over its own base image, from the present
/// state.
fn upgrade<'s>(
    instances: &'s mut Instances,
    catalog: &Catalog,
    subject: Subject<'_>,
    to: (CodeHash, PolicyHash),
    input: &Input,
) -> Result<(&'s mut LoadedSlot, StepResult), Stop> {
    let before = subject.definition;
    let (definition, runnable) = catalog.upgrade(to)?;
    let taken = require_migration(Laws { before, after: &definition })?;
    let state = before.schema.read_state(subject.image, before.code.state_address)?;
    let (image, globals) = (Image::new(Arc::clone(&runnable.base)), runnable.base.globals());
    let loaded = instances.load(&runnable, &image)?;
    let from =
        Subject { definition: &definition, runnable: &runnable, image: &image, globals, ..subject };
    let salt = subject.runnable.code.about().salt_address;
    let salt = salt.map(|address| salt_at(subject.image, address));
    let result = invoked(loaded, from, input, |loaded| {
        salt.iter().for_each(|salt| put_salt(loaded, &runnable, salt));
        initialize(loaded, &runnable)?;
        let address = schema::lower_value(&state, taken, &mut Arguments { loaded })?;
        enter(loaded, MIGRATE, &[CoreValue::I32(address)]).map(|_| Vec::new())
    })?;
    let new_code = Some(NewCode { runnable, image });
    Ok((loaded, StepResult { new_code, ..result }))
}

/// Writes the salt of a memory, if the code has a place for it.
fn put_salt(loaded: &mut LoadedSlot, runnable: &Runnable, salt: &[u8; IMAGE_SALT_BYTES]) {
    if let Some(address) = runnable.code.about().salt_address {
        loaded.write(address, salt).expect("code has room for a salt in its initial memory");
    }
}

/// Returns the salt that is at `address` of a memory.
fn salt_at(image: &Image, address: u32) -> [u8; IMAGE_SALT_BYTES] {
    std::array::from_fn(|index| {
        let at = address as usize + index;
        image.page((at / PAGE_BYTES) as u32)[at % PAGE_BYTES]
    })
}

/// Calls the `_initialize` that a toolchain made, if there is one, before anything else of the code
/// runs.
fn initialize(loaded: &mut LoadedSlot, runnable: &Runnable) -> Result<(), Stop> {
    match runnable.code.about().has_initialize {
        true => enter(loaded, INITIALIZE_EXPORT, &[]).map(drop),
        false => Ok(()),
    }
}

/// Runs code, as `call` says, from an image and globals, and returns the outcome.
fn invoked(
    loaded: &mut LoadedSlot,
    subject: Subject<'_>,
    input: &Input,
    call: impl FnOnce(&mut LoadedSlot) -> Result<Vec<u8>, Stop>,
) -> Result<StepResult, Stop> {
    let Subject { definition, image, globals, limits, .. } = subject;
    loaded.limits = limits;
    let (result, end) = match invoke(loaded, globals, input, call) {
        Ok(ended) => ended,
        Err(stop) => {
            loaded.reject();
            return Err(stop);
        }
    };
    let changed = loaded.changed();
    debug_assert!(
        changed.iter().all(|(index, page)| !image.holds(*index, page)),
        "a page that changed differs from before"
    );
    let indices = changed.iter().map(|(index, _)| *index).collect();
    let after = image.step(loaded.slot.memory().len() as u64, changed);
    let after = match after {
        Ok(after) => after,
        Err(error) => {
            loaded.reject();
            return Err(Stop::Failed(error.into()));
        }
    };
    let wake = match end.wake {
        // A wake at the time of the step itself would have no end.
        Some(substrate::WakeChange::At(at)) => {
            WakeChange::Set(at.max(input.time.saturating_add(Duration::from_millis(1))))
        }
        Some(substrate::WakeChange::Never) => WakeChange::Clear,
        None => WakeChange::Keep,
    };
    let outputs = end.outputs.into_iter().map(|(name, payload)| Output { name, payload });
    Ok(StepResult {
        image: after,
        changed: indices,
        effects: Effects { result, outputs: outputs.collect(), wake, messages: end.messages },
        fuel: end.fuel_used,
        globals: loaded.globals(),
        definition: Arc::clone(definition),
        new_code: None,
    })
}

/// A direct write: the code does not run.
fn write(
    definition: &Arc<Definition>,
    image: &Image,
    globals: &[u64],
    fields: &[(String, Vec<u8>)],
) -> Result<StepResult, Stop> {
    let refuse =
        |error: object::Error| Stop::Refused(Verdict::native(Reason::State, error.to_string()));
    let Definition { schema, code, .. } = &**definition;
    let changed =
        schema::write::apply(schema, code.state_address, image, fields).map_err(refuse)?;
    let indices = changed.iter().map(|(index, _)| *index).collect();
    let image = image.step(image.bytes_count(), changed).map_err(refuse)?;
    Ok(StepResult { changed: indices, ..unchanged(definition, &image, globals) })
}

/// Amends the policy: the code does not run.
fn amend(
    definition: &Arc<Definition>,
    image: &Image,
    globals: &[u64],
    policy: &[u8],
) -> Result<StepResult, Stop> {
    // The policy library's words about its fault are no part of a lineage.
    let refuse = |detail: &str| Stop::Refused(Verdict::native(Reason::Policy, detail));
    let policy = Policy::decode(policy, &definition.schema)
        .map_err(|_| refuse("not a policy for the object's schema"))?;
    validate_guard(&policy).map_err(|_| refuse("its guard is not a module of guards"))?;
    Ok(unchanged(&Arc::new(definition.amended(policy)), image, globals))
}

/// Returns a step that changes nothing.
fn unchanged(definition: &Arc<Definition>, image: &Image, globals: &[u64]) -> StepResult {
    StepResult {
        image: image.clone(),
        changed: Vec::new(),
        effects: Effects::default(),
        fuel: 0,
        globals: globals.to_vec(),
        definition: Arc::clone(definition),
        new_code: None,
    }
}

/// Runs code, and returns its encoded result and the effects.
fn invoke(
    loaded: &mut LoadedSlot,
    globals: &[u64],
    input: &Input,
    call: impl FnOnce(&mut LoadedSlot) -> Result<Vec<u8>, Stop>,
) -> Result<(Vec<u8>, substrate::Effects), Stop> {
    loaded.slot.set_globals(globals);
    let fuel = input.request.fuel_max().min(loaded.limits.fuel);
    let limits = StepLimits { fuel, ..loaded.limits };
    loaded.slot.begin_step(StepContext { now: input.time, limits });
    let called = call(loaded);
    let end = loaded.slot.end_step();
    let result = called?;
    debug_assert!(end.fuel_used <= limits.fuel, "a step that ended well had the fuel");
    if result.len() > limits.effects_bytes {
        return Err(Stop::Refused(match result.len() > EFFECTS_BYTES_MAX {
            true => Verdict::native(Reason::Trap, format!("a result of {} bytes", result.len())),
            false => host_limit::refused(HostLimit::EffectsBytes, limits),
        }));
    }
    Ok((result, end))
}

/// Calls the function that the request names, and returns its encoded result.
fn called(
    loaded: &mut LoadedSlot,
    definition: &Definition,
    input: &Input,
) -> Result<Vec<u8>, Stop> {
    match &input.request {
        Request::Create { arguments, .. } => match definition.schema.create() {
            Some(create) => call(loaded, create, arguments),
            None => Ok(Vec::new()),
        },
        Request::Call { method, arguments } => {
            call(loaded, definition.schema.require_method(method)?, arguments)
        }
        Request::Message { method, arguments, .. } => {
            call(loaded, asked(definition, method, arguments)?, arguments)
        }
        Request::Cycle => enter(loaded, "cycle", &[]).map(|_| Vec::new()),
        request => unreachable!("a {} runs no code of the object", request.kind().name()),
    }
}

/// Returns the method of a message, if it exists and has these arguments: nobody checked that when
/// the message was sent.
fn asked<'a>(
    definition: &'a Definition,
    method: &str,
    arguments: &[u8],
) -> Result<&'a Method, Verdict> {
    let refuse = |error: object::Error| Verdict::native(Reason::Message, error.to_string());
    let method = definition.schema.require_method(method).map_err(refuse)?;
    schema::decode_args(arguments, &method.params).map_err(refuse)?;
    Ok(method)
}

/// Calls a method with encoded arguments; returns the encoded result.
fn call(loaded: &mut LoadedSlot, method: &Method, arguments: &[u8]) -> Result<Vec<u8>, Stop> {
    let values = schema::decode_args(arguments, &method.params)?;
    let core = schema::lower_args(&values, &method.params, &mut Arguments { loaded })?;
    let results = enter(loaded, &method.name, &core)?;
    let Some(ty) = &method.result else { return Ok(Vec::new()) };
    let invalid =
        |error: object::Error| Stop::Refused(Verdict::native(Reason::State, error.to_string()));
    let value = schema::lift_result(method, results.first().copied(), loaded.slot.memory());
    let value = value.map_err(invalid)?.expect("a method with a result type has a result");
    schema::encode_value(&value, ty).map_err(invalid)
}

/// Calls an exported function; one that the module does not have traps.
fn enter(loaded: &mut LoadedSlot, name: &str, core: &[CoreValue]) -> Result<Vec<CoreValue>, Stop> {
    let Some(function) = loaded.slot.code().function(name) else {
        let detail = format!("the module exports no function {name}");
        return Err(Stop::Refused(Verdict::native(Reason::Trap, detail)));
    };
    loaded.slot.call(function, core).map_err(|error| stop(error, loaded))
}

/// Puts arguments that do not fit a core value into the guest's memory.
struct Arguments<'a> {
    loaded: &'a mut LoadedSlot,
}

impl Lower for Arguments<'_> {
    type Error = Stop;

    fn allocate(&mut self, bytes: u32, align: u32) -> Result<u32, Stop> {
        let zero = CoreValue::I32(0);
        let arguments = [zero, zero, CoreValue::I32(align), CoreValue::I32(bytes)];
        match enter(self.loaded, "cabi_realloc", &arguments)?[..] {
            [CoreValue::I32(address)] if address % align == 0 => Ok(address),
            _ => Err(bad_room()),
        }
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Stop> {
        self.loaded.write(address, bytes).ok_or_else(bad_room)
    }
}

fn bad_room() -> Stop {
    let detail = "cabi_realloc gave room that is not aligned or not in memory";
    Stop::Refused(Verdict::native(Reason::Trap, detail))
}

/// The verdict of a trap; the host's own failures are none.
fn stop(error: StepError, loaded: &LoadedSlot) -> Stop {
    let (trap, own) = match error {
        StepError::Host(failure) => return Stop::Failed(failure.into()),
        StepError::Trap(trap) => (trap, loaded.limits),
    };
    let is_hosts = own.fuel < FUEL_MAX && loaded.slot.budget() == own.fuel;
    let verdict = match trap {
        Trap::OutOfFuel if is_hosts => host_limit::refused(HostLimit::Fuel, own),
        Trap::HostLimit(limit) => host_limit::refused(limit, own),
        Trap::OutOfFuel => Verdict::native(Reason::OutOfFuel, trap.to_string()),
        Trap::StackExhausted => Verdict::native(Reason::StackExhausted, trap.to_string()),
        _ => Verdict::native(Reason::Trap, trap.to_string()),
    };
    Stop::Refused(verdict)
}
