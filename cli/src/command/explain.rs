//! `explain`: shows why a version was admitted, or an input refused: the rules, and the values that
//! they read. Other commands print their explanations with it.

use clap::Args;
use continuant::policy::definition::Definition;
use continuant::policy::{Explanation as Decided, Reading, Rule};
use continuant::{Done, Explanation, Migration, Value, Verdict};
use serde_json::{Value as Json, json};

use super::history;
use crate::failure::Result;
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::{moment, number, receipt, typed};

/// Show why a version was admitted or an input refused: the rules, and the values that they read
///
/// Explains the newest version when no other is named. The decision on a version is taken again
/// from the record, and the step of a refusal is run again: the policy must decide as on record.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The object
    object: String,

    /// The version's number
    #[arg(value_name = "SEQ", value_parser = number::parse::<u64>)]
    seq: Option<u64>,

    /// A refusal instead, by the number that `history` shows
    #[arg(long, value_name = "NUMBER", value_parser = number::parse::<u64>,
          conflicts_with = "seq")]
    refusal: Option<u64>,
}

/// The subject of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Version,
    /// A refusal, by its number.
    Refusal(u64),
    DryRun,
}

impl Explain {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let (explanation, about) = match (self.refusal, self.seq) {
                (Some(number), _) => (db.explain_refusal(id, number)?, About::Refusal(number)),
                (None, Some(seq)) => (db.explain(id, seq)?, About::Version),
                (None, None) => (db.explain(id, db.info(id)?.seq)?, About::Version),
            };
            // The code that the input was for.
            let seq = match about {
                About::Version => explanation.seq,
                _ => explanation.seq.saturating_sub(1),
            };
            print(&explanation, about, db.at(id, seq)?.definition(), printer)
        })
    }
}

/// Prints an explanation.
pub(super) fn print(
    explanation: &Explanation,
    about: About,
    definition: &Definition,
    printer: &mut Printer,
) -> Result<()> {
    if printer.is_json() {
        return printer.document(&document(explanation, about, definition)?);
    }
    let mut pairs = vec![subject(explanation, about)];
    pairs.push(("time", explanation.input.time.to_string()));
    pairs.push(("input", history::input(&explanation.input, definition)?));
    pairs.push((
        "signed by",
        history::signers(history::claimed(&explanation.input), &explanation.input),
    ));
    pairs.extend(
        explanation.policy.iter().map(|policy| ("principal", policy.principal.to_string())),
    );
    pairs.extend(explanation.done.iter().flat_map(done));
    pairs.extend(explanation.guard.iter().map(|guard| ("guard", word(guard))));
    let new_guard = explanation.migration.iter().flat_map(|migration| &migration.guard);
    pairs.extend(new_guard.map(|guard| ("new guard", word(guard))));
    pairs.push(decision(explanation));
    let new_policy = explanation.migration.iter().map(|migration| (&migration.policy, "migrate"));
    let policies =
        explanation.policy.iter().map(|policy| (policy, explanation.input.request.action()));
    let silent = policies.chain(new_policy).filter_map(|(policy, action)| silent(policy, action));
    pairs.extend(silent.map(|why| ("because", why)));
    printer.pairs(&pairs)?;
    let mut rules = explanation.policy.iter().flat_map(|policy| &policy.rules);
    rules.try_for_each(|rule| print_rule(rule, printer))?;
    let Some(Migration { policy, .. }) = &explanation.migration else { return Ok(()) };
    printer.line("")?;
    printer.line("by the new policy:")?;
    policy.rules.iter().try_for_each(|rule| print_rule(rule, printer))
}

/// Prints a rule behind an empty line, and the values that it reads.
pub(super) fn print_rule(rule: &Rule, printer: &mut Printer) -> Result<()> {
    printer.line("")?;
    rule.text.lines().try_for_each(|line| printer.line(line))?;
    let reads = rule.reads.iter().map(|read| (format!("  {}", read.path), shown(read)));
    let reads: Vec<(String, String)> = reads.collect();
    let pairs = reads.iter().map(|(path, value)| (path.as_str(), value.clone()));
    printer.pairs(&pairs.collect::<Vec<_>>())
}

fn subject(explanation: &Explanation, about: About) -> (&'static str, String) {
    let seq = explanation.seq;
    match about {
        About::Version => ("version", seq.to_string()),
        About::Refusal(number) => {
            let subject = format!("{number}, of an input that would have made version {seq}");
            ("refusal", subject)
        }
        About::DryRun => ("dry run", format!("of an input that would make version {seq}")),
    }
}

fn done(done: &Done) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    pairs.extend(done.result.as_ref().map(|result| ("result", typed::show(result))));
    let outputs = done.outputs.iter();
    pairs.extend(outputs.map(|output| ("output", receipt::show_output(output))));
    pairs.extend(done.messages.iter().map(|it| ("message", receipt::show_message(it))));
    pairs.extend(done.wake.map(|wake| ("next wake", wake.to_string())));
    pairs.push(("fuel", done.fuel.to_string()));
    pairs.push(("pages", done.page_count.to_string()));
    pairs
}

fn decision(explanation: &Explanation) -> (&'static str, String) {
    match (&explanation.verdict, &explanation.policy) {
        (Ok(_), None) => ("decision", "created: no policy decides on a creation".to_string()),
        (Ok(admission), Some(_)) => {
            let rules = [&admission.rules[..], &admission.migrated].concat();
            ("decision", format!("permitted by {}", rules.join(", ")))
        }
        (Err(verdict), None) => {
            ("decision", format!("refused before the policy was asked: {verdict}"))
        }
        (Err(verdict), Some(_)) => ("decision", format!("refused: {verdict}")),
    }
}

/// Returns a line saying that no rule permits anything of an action, where that is why it was
/// refused.
fn silent(policy: &Decided, action: &str) -> Option<String> {
    let permitted = policy.permitted.as_ref()?;
    let others = match &permitted[..] {
        [] => "anything at all".to_string(),
        permitted => format!("`{action}`: rules permit {}", permitted.join(", ")),
    };
    Some(format!("no rule permits {others}; what no rule permits is refused"))
}

/// Describes the guard's answer.
fn word(guard: &Result<(), Verdict>) -> String {
    match guard {
        Ok(()) => "permits".to_string(),
        Err(verdict) => format!("does not permit, {}", verdict.detail),
    }
}

/// Formats a value that a rule reads, for people.
fn shown(read: &Reading) -> String {
    match &read.value {
        Ok(Some(value)) => value.to_json().to_string(),
        Ok(None) => "none".to_string(),
        Err(refusal) => format!("could not be read: {refusal}"),
    }
}

fn document(explanation: &Explanation, about: About, definition: &Definition) -> Result<Json> {
    let verdict = explanation.verdict.as_ref();
    let rules = match verdict {
        Ok(admission) => [&admission.rules[..], &admission.migrated].concat(),
        Err(verdict) => verdict.rules.clone(),
    };
    let refused = verdict.err();
    let policy = explanation.policy.as_ref();
    let mut document = json!({
        "object": explanation.object.to_string(),
        "seq": explanation.seq,
        "time": moment::json(explanation.input.time),
        "input": history::request_document(&explanation.input, definition)?,
        "claimed_signers":
            history::claimed(&explanation.input).map(|key| key.to_string()).collect::<Vec<_>>(),
        "principal": policy.map(|policy| policy.principal.to_string()),
        "admitted": verdict.is_ok(),
        "reason": refused.map(|verdict| verdict.reason.name()),
        "detail": refused.map(|verdict| &verdict.detail),
        "rules": rules,
        "guard": explanation.guard.as_ref().map(guard),
        "explained": policy.map(|policy| policy.rules.iter().map(rule).collect::<Vec<_>>()),
        "permitted_actions": policy.and_then(|policy| policy.permitted.as_ref()),
    });
    if let About::Refusal(number) = about {
        document["refusal"] = number.into();
    }
    if let Some(migration) = &explanation.migration {
        document["migration"] = json!({
            "guard": migration.guard.as_ref().map(guard),
            "explained": migration.policy.rules.iter().map(rule).collect::<Vec<_>>(),
        });
    }
    if let Some(done) = &explanation.done {
        document["result"] = done.result.as_ref().map(Value::to_json).into();
        document["outputs"] = done.outputs.iter().map(receipt::output).collect();
        document["messages"] = done.messages.iter().map(receipt::message).collect();
        document["wake"] = moment::json(done.wake);
        document["fuel"] = done.fuel.into();
        document["pages"] = done.page_count.into();
    }
    Ok(document)
}

/// Returns the guard's answer as JSON.
fn guard(guard: &Result<(), Verdict>) -> Json {
    let detail = guard.as_ref().err().map(|verdict| &verdict.detail);
    json!({ "permits": guard.is_ok(), "detail": detail })
}

/// Returns a rule and the values that it reads as JSON.
pub(super) fn rule(rule: &Rule) -> Json {
    let reads = rule.reads.iter().map(|read| match &read.value {
        Ok(value) => json!({ "path": read.path, "value": value.as_ref().map(Value::to_json) }),
        Err(refusal) => json!({ "path": read.path, "problem": refusal.to_string() }),
    });
    json!({
        "id": rule.id,
        "effect": if rule.permits { "permit" } else { "forbid" },
        "text": rule.text,
        "reads": reads.collect::<Vec<_>>(),
    })
}
