//! `fuzz`: searches for inputs that break an invariant, on objects made only for that.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use continuant::fuzz::{self, Broken, Event, Played, Report, START, Step, What};
use continuant::{Code, Value};
use serde_json::{Value as Json, json};

use super::create::{creation, read_module, read_policy};
use super::explain;
use super::show::section;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::grouped;
use crate::{keyfile, moment, number, progress, stop, typed};

/// Look for inputs that break an invariant of an object's code and policy
///
/// Objects are made in memory and given inputs at random: calls, direct writes, signatures of some
/// keys, time that passes. Every resulting version is checked against the invariants; it must also
/// verify and replay, and no signed input may be admitted twice. A sequence that breaks one is
/// shrunk to the fewest and smallest inputs that still do, and the exit code is then 6.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// The module
    module: PathBuf,

    /// Arguments of the method `create`, as `create` takes them [default: drawn at random]
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,

    /// The policy, as Cedar text
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,

    /// An invariant of every version, as a Cedar expression; repeat the option for more
    #[arg(long = "invariant", value_name = "EXPRESSION")]
    expressions: Vec<String>,

    /// Rules in Cedar text that must forbid no version; each is a `forbid`
    #[arg(long, value_name = "FILE")]
    invariants: Option<PathBuf>,

    /// The time to run, in minutes
    #[arg(long, value_name = "NUMBER", value_parser = number::parse::<u64>,
          default_value_t = 1, conflicts_with = "steps")]
    minutes: u64,

    /// Run this number of steps instead
    #[arg(long, value_name = "COUNT", value_parser = number::parse::<u64>)]
    steps: Option<u64>,

    /// Repeat the draws of a run with this seed [default: a new one]
    #[arg(long, value_name = "NUMBER", value_parser = number::parse::<u64>)]
    seed: Option<u64>,

    /// Inputs to one object, at most
    #[arg(long, value_name = "COUNT", value_parser = number::parse::<usize>, default_value_t = 64)]
    steps_max: usize,

    /// A key that signs, such as one that the policy names; give it again for each further one
    /// [default: four of the fuzzer's own]
    #[arg(long, value_name = "KEYFILE")]
    sign: Vec<PathBuf>,
}

impl Fuzz {
    pub(crate) fn run(self, printer: &mut Printer) -> Result<()> {
        let bar = progress::counting("fuzzing");
        let fuzz = self.prepare().map_err(Failure::not_ours)?;
        let _orderly = stop::orderly();
        let fuzz = fuzz.stop_when(|| stop::asked().is_some());
        let report = fuzz.run(|steps| bar.set_position(steps));
        bar.finish_and_clear();
        let report = report.map_err(|error| Failure::from(error).not_ours())?;
        match printer.is_json() {
            true => printer.document(&document(&report))?,
            false => self.print(&report, printer)?,
        }
        match (&report.broken, stop::asked()) {
            (None, Some(signal)) => {
                let steps = grouped(report.steps);
                Err(Failure::stopped(signal, format!("no invariant was broken in {steps} steps")))
            }
            (None, None) if report.actions.values().all(|tries| tries.admitted == 0) => {
                let message = "only creations were ever admitted: no step was checked against an \
                               invariant";
                Err(Failure::new("nothing-admitted", message))
            }
            (None, None) => Ok(()),
            (Some(broken), _) => Err(Failure::broken(said(broken))),
        }
    }

    fn prepare(&self) -> Result<fuzz::Fuzz> {
        let module = read_module(&self.module)?;
        let policy = read_policy(&self.policy)?;
        let arguments = match self.arguments.is_empty() {
            true => Vec::new(),
            false => creation(&module, &typed::given(&self.arguments)?)?,
        };
        let mut fuzz = fuzz::Fuzz::new(Code::wasm(module)?.policy(policy).args(arguments));
        for (index, expression) in self.expressions.iter().enumerate() {
            fuzz = fuzz.invariant(&format!("invariant-{}", index + 1), expression);
        }
        if let Some(invariants) = &self.invariants {
            fuzz = fuzz.invariants(&read_policy(invariants)?);
        }
        for key in keyfile::read_all(&self.sign)? {
            fuzz = fuzz.key(key);
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => random()?,
        };
        let fuzz = fuzz.seed(seed).events_max(self.steps_max);
        Ok(match self.steps {
            Some(steps) => fuzz.steps(steps),
            None => fuzz.time(Duration::from_secs(self.minutes.saturating_mul(60))),
        })
    }

    fn print(&self, report: &Report, printer: &mut Printer) -> Result<()> {
        let mut pairs = vec![
            ("seed", report.seed.to_string()),
            ("objects", grouped(report.sequences)),
            ("steps", grouped(report.steps)),
            ("versions", grouped(report.versions())),
        ];
        if report.refused_creations > 0 {
            pairs.push(("creations refused", grouped(report.refused_creations)));
        }
        pairs.push(("lineages replayed", grouped(report.replays)));
        printer.pairs(&pairs)?;
        section(printer, "actions", &actions(report))?;
        let refusals = report.refusals.iter();
        let refusals = refusals.map(|(reason, count)| (reason.name().to_string(), grouped(*count)));
        section(printer, "refusals", &refusals.collect::<Vec<_>>())?;
        section(printer, "rules", &rules(report))?;
        let Some(broken) = &report.broken else { return Ok(()) };
        section(printer, "inputs that break an invariant", &self.inputs(broken))?;
        section(printer, "keys", &self.keys(report, broken))?;
        if let Some(rule) = &broken.rule {
            explain::print_rule(rule, printer)?;
        }
        Ok(())
    }

    /// Returns the inputs, one a line, each behind its outcome.
    fn inputs(&self, broken: &Broken) -> Vec<(String, String)> {
        let created = words("create", &broken.arguments);
        let rows = broken.events.iter().map(|Played { event, steps }| {
            let who = signers(event).map(|signer| self.key_name(signer));
            let who = who.collect::<Vec<_>>();
            let signed = match who.is_empty() {
                true => String::new(),
                false => format!(", signed by {}", who.join(" and ")),
            };
            let outcomes: Vec<String> = steps.iter().map(outcome).collect();
            (outcomes.join(", "), format!("{}{signed}", what(&event.what)))
        });
        std::iter::once(("version 0".to_string(), created)).chain(rows).collect()
    }

    /// Returns the keys that sign the inputs which break an invariant.
    fn keys(&self, report: &Report, broken: &Broken) -> Vec<(String, String)> {
        let used = broken.events.iter().flat_map(|played| signers(&played.event));
        let used: std::collections::BTreeSet<usize> = used.collect();
        let name =
            |signer: usize| (self.key_name(signer), report.keys[signer].public().to_string());
        used.into_iter().map(name).collect()
    }

    /// A key by its file, or as one of the fuzzer's own.
    fn key_name(&self, signer: usize) -> String {
        match self.sign.get(signer) {
            Some(path) => path.display().to_string(),
            None => format!("stranger-{}", signer + 1 - self.sign.len()),
        }
    }
}

fn random() -> Result<u64> {
    let random = getrandom::u64();
    random.map_err(|error| Failure::new("random", format!("no random seed: {error}")))
}

fn signers(event: &Event) -> impl Iterator<Item = usize> + '_ {
    event.signers.iter().copied()
}

/// Describes a broken invariant in a line.
fn said(broken: &Broken) -> String {
    let count = broken.events.len();
    let inputs = if count == 1 { "input" } else { "inputs" };
    format!("{}: {} after {count} {inputs}", broken.invariant, broken.detail)
}

fn actions(report: &Report) -> Vec<(String, String)> {
    let shown = report.actions.iter().map(|(action, tries)| {
        assert!(tries.admitted <= tries.tried, "only what is tried is admitted");
        let (tried, admitted) = (grouped(tries.tried), grouped(tries.admitted));
        let shown = match (tries.tried, tries.admitted) {
            (0, _) => "never tried".to_string(),
            (_, 0) => format!("none of {tried} admitted"),
            _ => format!("{admitted} of {tried} admitted"),
        };
        (action.clone(), shown)
    });
    shown.collect()
}

fn rules(report: &Report) -> Vec<(String, String)> {
    let shown = report.rules.iter().map(|(id, verdicts)| {
        let verb = if verdicts.permits { "permitted" } else { "forbade" };
        let count = match verdicts.count {
            0 => format!("{verb} none"),
            count => format!("{verb} {}", grouped(count)),
        };
        (id.clone(), count)
    });
    shown.collect()
}

/// A method and its arguments as JSON.
fn words(method: &str, arguments: &[Value]) -> String {
    let arguments = arguments.iter().map(|value| value.to_json().to_string());
    std::iter::once(method.to_string()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn what(what: &What) -> String {
    match what {
        What::Call { method, arguments } => format!("call {}", words(method, arguments)),
        What::Write { field, value } => format!("write {field}={}", value.to_json()),
        What::Amend => "amend, with the same policy".to_string(),
        What::Replay => "replay of the input that was signed last".to_string(),
        What::Wait(span) => format!("wait {} ms", grouped(moment::milliseconds(*span))),
    }
}

fn outcome(step: &Step) -> String {
    let by = if step.action == "advance" { " by its cycle" } else { "" };
    match &step.verdict {
        Ok(_) => format!("version {}{by}", step.seq),
        Err(verdict) => format!("refused{by}: {verdict}"),
    }
}

fn document(report: &Report) -> Json {
    let refusals = report.refusals.iter();
    let actions = report.actions.iter().map(|(action, tries)| {
        json!({ "action": action, "tried": tries.tried, "admitted": tries.admitted })
    });
    let rules = report.rules.iter().map(|(id, verdicts)| {
        let effect = if verdicts.permits { "permit" } else { "forbid" };
        json!({ "id": id, "effect": effect, "count": verdicts.count })
    });
    json!({
        "seed": report.seed,
        "objects": report.sequences,
        "refused_creations": report.refused_creations,
        "steps": report.steps,
        "versions": report.versions(),
        "replays": report.replays,
        "actions": actions.collect::<Vec<_>>(),
        "refusals": refusals.map(|(reason, count)| (reason.name().to_string(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "rules": rules.collect::<Vec<_>>(),
        "broken": report.broken.as_ref().map(|broken| broken_document(report, broken)),
    })
}

fn broken_document(report: &Report, broken: &Broken) -> Json {
    let values = |values: &[Value]| values.iter().map(Value::to_json).collect::<Vec<_>>();
    let inputs = broken.events.iter().map(|Played { event, steps }| {
        let mut input = match &event.what {
            What::Call { method, arguments } => {
                json!({ "input": "call", "method": method, "arguments": values(arguments) })
            }
            What::Write { field, value } => {
                json!({ "input": "write", "field": field, "value": value.to_json() })
            }
            What::Amend => json!({ "input": "amend" }),
            What::Replay => json!({ "input": "replay" }),
            What::Wait(span) => json!({ "input": "wait", "ms": moment::milliseconds(*span) }),
        };
        let keys = signers(event).map(|signer| report.keys[signer].public().to_string());
        input["signers"] = keys.collect();
        input["steps"] = steps.iter().map(step_document).collect();
        input
    });
    json!({
        "invariant": broken.invariant,
        "detail": broken.detail,
        "rule": broken.rule.as_ref().map(explain::rule),
        "created": START.as_millis(),
        "arguments": values(&broken.arguments),
        "inputs": inputs.collect::<Vec<_>>(),
        "version": broken.version.map(|version| version.to_string()),
        "found_in_object": broken.sequence,
        "found_after": broken.found_after,
    })
}

fn step_document(step: &Step) -> Json {
    let refused = step.verdict.as_ref().err();
    json!({
        "action": step.action,
        "seq": step.seq,
        "admitted": refused.is_none(),
        "rules": step.verdict.as_ref().map_or_else(|it| &it.rules, |it| &it.rules),
        "reason": refused.map(|verdict| verdict.reason.name()),
    })
}
