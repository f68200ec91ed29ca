//! The cost of a decision, by compiled rules and by Cedar, and of compiling a policy.
//!
//! A decision is measured by itself: the signers are known, the step has run, its state is valid.

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use continuant::object::effects::Effects;
use continuant::object::input::{Input, Request};
use continuant::object::ledger::Past;
use continuant::policy::admission::{Step, decide_by_cedar};
use continuant::policy::{Decision, Facts, Policy, Principal, Raw, STACK_BYTES};
use continuant::schema::code;
use continuant::schema::{Schema, encode_args};
use continuant::{Code, Database, Options, SigningKey, Snapshot, Value, args};

use crate::counter;
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::sizes::Sizes;
use crate::timing::nanoseconds_each;

pub(crate) const ACCOUNT: &str = "admit.compiled.account";
pub(crate) const FLIGHT: &str = "admit.compiled.flight";
pub(crate) const COMPILE: &str = "policy.compile";

/// The flights' module.
const AIRCRAFT: &[u8] = include_bytes!("../../guest/objects/aircraft.wasm");
/// The flights' policy.
const AIRCRAFT_POLICY: &str = include_str!("../../guest/examples/aircraft/policy.cedar");
/// Rules of the policy that is compiled.
const RULES: usize = 50;
/// Compiled decisions for each one by Cedar.
const RATIO: usize = 20;

/// A call that the object's policy admits.
struct Case {
    before: Snapshot,
    after: Snapshot,
    method: &'static str,
    arguments: Vec<Value>,
    /// The key that signed it.
    key: Option<SigningKey>,
}

/// A call of the account of the guide's policies.
pub(crate) fn account(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "the account's policy on an increment, by its compiled rules";
    let code = Code::wasm(counter::WASM)?.policy(counter::POLICY);
    admit(ACCOUNT, about, code, ("increment", args![1u64], None), (sizes, rounds))
}

/// A flight by its operator.
pub(crate) fn flight(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "the flights' policy on a flight by its operator, by its compiled rules";
    let key = SigningKey::from_secret(&[1; 32]);
    let code = Code::wasm(AIRCRAFT)?.policy(AIRCRAFT_POLICY);
    let code = code.args(args![key.public().0.to_vec()]);
    let call = ("fly", args![1_000u64, 90u64, 700u64], Some(key));
    admit(FLIGHT, about, code, call, (sizes, rounds))
}

fn admit(
    name: &'static str,
    about: &'static str,
    code: Code,
    (method, arguments, key): (&'static str, Vec<Value>, Option<SigningKey>),
    (sizes, rounds): (&Sizes, usize),
) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let db = Options::new().workers(1).open(directory.path().join("db"))?;
    let case = Case::new(&db, code, method, arguments, key)?;
    on_stack(|| {
        let (mut compiled, mut cedar) = (Samples::default(), Samples::default());
        for _ in 0..rounds {
            let (ours, theirs) = case.round(sizes.reads / RATIO)?;
            compiled.push(ours);
            cedar.push(theirs);
        }
        let about_cedar =
            "its states and arguments read as values, Cedar's context, its authorizer";
        let vs = vec![Peer { name: "admit.cedar", about: about_cedar, samples: cedar }];
        Ok(vec![Figure::new(name, about, Unit::NANOSECONDS, compiled, vs)])
    })
}

impl Case {
    fn new(
        db: &Database,
        code: Code,
        method: &'static str,
        arguments: Vec<Value>,
        key: Option<SigningKey>,
    ) -> Result<Case> {
        let id = db.create(code)?;
        let before = db.snapshot(id)?;
        let call = db.call(id, method, arguments.clone());
        match &key {
            Some(key) => call.signed(key).wait()?,
            None => call.wait()?,
        };
        Ok(Case { before, after: db.snapshot(id)?, method, arguments, key })
    }

    /// Nanoseconds of a decision, compiled and by Cedar.
    fn round(&self, decisions: usize) -> Result<(f64, f64)> {
        let definition = self.before.definition();
        let method = definition.schema.require_method(self.method)?;
        let arguments = encode_args(&self.arguments, &method.params)?;
        let header = self.after.header();
        let signers: Vec<_> = self.key.iter().map(SigningKey::public).collect();
        let request =
            Request::Call { method: self.method.to_string(), arguments: arguments.clone() };
        let input = Input { request, time: header.time, credential: None };
        let effects = Effects::default();
        let facts = Facts {
            principal: signers.first().map_or(Principal::Anonymous, |key| Principal::Key(key.0)),
            action: self.method,
            field: None,
            object: header.object_id(),
            signers: &signers,
            credential: "none",
            sender: None,
            outputs: &effects.outputs,
            messages: &effects.messages,
            wake: header.wake,
            seq: header.seq,
            age_ms: 0,
            fuel: header.fuel,
            pages: header.page_count,
            time: header.time,
            past: Past::NONE,
            instrumentation: header.instrumentation,
            code: header.code,
            policy: header.policy,
            upgrade: None,
        };
        let (before, after) = (self.before.image(), self.after.image());
        let raw =
            Raw { before, after, state: definition.code.state_address, arguments: &arguments };
        let step = Step {
            input: &input,
            before,
            after,
            effects: &effects,
            fuel: header.fuel,
            page_count: header.page_count,
            instrumentation: header.instrumentation,
            policy: header.policy,
        };
        let decide = || definition.policy.decide_raw(black_box(&facts), black_box(&raw));
        let by_cedar = || decide_by_cedar(definition, black_box(&facts), &step);
        let ruling = decide().context("the rules are compiled, and decide")?;
        let cedar = by_cedar()?;
        ensure!(Decision::from(ruling) == cedar, "two decisions: {ruling:?} and {cedar:?}");
        ensure!(ruling.permits(), "the call is admitted: {cedar:?}");
        let ours = nanoseconds_each(decisions * RATIO, || Ok(decide()))?;
        let theirs = nanoseconds_each(decisions, || Ok(by_cedar()?))?;
        Ok((ours, theirs))
    }
}

/// A policy of fifty rules, from its text.
pub(crate) fn compile(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let schema = &Schema::parse(&code::read(counter::WASM)?.schema_text)?;
    let rules = (0..RULES).map(|index| {
        format!(
            "@id(\"rule-{index}\") forbid(principal, action == Action::\"increment\", resource) \
             when {{ context.after.count > context.before.count + {index} && \
             context.input.by + context.lineage.seq < {index} || context.cost.fuel == {index} }};\n"
        )
    });
    let text: String = rules.collect();
    on_stack(|| {
        let mut samples = Samples::default();
        let count = (sizes.reads / 100_000).max(3);
        for _ in 0..rounds {
            let parse = || Ok(Policy::parse(black_box(&text), schema)?);
            samples.push(nanoseconds_each(count, parse)? / 1e6);
        }
        let about = "50 rules, from text: scanned, parsed, strictly validated, compiled";
        Ok(vec![Figure::new(COMPILE, about, Unit::MILLISECONDS, samples, Vec::new())])
    })
}

/// Runs on a thread with the stack that a policy needs.
fn on_stack<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, run)?.join().expect("a bench does not panic")
    })
}
