//! Figures of past arguments, as policies see them, against a model that looks at all versions
//! again: for each figure that is asked for, a rule says its value, and each rule must hold,
//! compiled or not.
//!
//! The model knows what the text of a rule means, and nothing of ledgers.

use std::collections::BTreeSet;
use std::sync::Arc;

use object::credential::PublicKey;
use object::input::{Input, Request};
use object::ledger::{DAY, HOUR, Ledger, MINUTE};
use object::limits::PAST_VALUES_MAX;
use object::time::Time;
use policy::{Decision, Facts, Law, Policy, Principal, Raw, Refusal, Values};
use rand::RngExt;
use rand::rngs::StdRng;
use schema::{Schema, Type, Value, encode_args};

use super::Counts;
use crate::generate::decision::{Cast, quoted, value};
use crate::generate::placed::{Placed, STATE};
use crate::outcome::{Outcome, equal, must};

const SCHEMA: &str = "package a:b; interface c {
    enum e { a, b-b }
    record state { f: u8 }
    pay: func(amount: u64, to: string, by: option<s32>, how: e, last-one: bool);
    look: func(
        note: list<string>, to: string, amount: u32, how: char, hash: list<u8>, last-one: u8
    );
}";
const KEYS: [PublicKey; 2] = [PublicKey([1; 32]), PublicKey([0xab; 32])];
const WINDOWS: [&str; 4] = ["minute", "hour", "day", "ever"];

/// A version that was made.
struct Made {
    time: u64,
    method: &'static str,
    arguments: Vec<(String, Value)>,
    signer: Option<PublicKey>,
}

/// A figure that a rule asks for: the names behind `past`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Figure {
    method: &'static str,
    what: &'static str,
    argument: String,
    window: &'static str,
}

/// The value of a figure.
enum Is {
    /// Cedar's text of the value.
    This(String),
    Absent,
    Unknown,
}

impl Figure {
    fn draw(rng: &mut StdRng, schema: &Schema) -> Figure {
        let method = ["pay", "look"][rng.random_range(0..2)];
        let params = &schema.method(method).expect("the schema has it").params;
        let params: Vec<_> = params.iter().filter(|param| param.name != "note").collect();
        let param = params[rng.random_range(0..params.len())];
        let is_integer = matches!(&param.name[..], "amount" | "by");
        let whats = ["last", "distinct", "same", "same_signer", "sum", "sum"];
        let what = whats[rng.random_range(0..if is_integer { 6 } else { 4 })];
        let window = if what == "last" { "" } else { WINDOWS[rng.random_range(0..4)] };
        Figure { method, what, argument: param.name.clone(), window }
    }

    fn path(&self) -> String {
        let Figure { method, what, window, .. } = self;
        let dot = if window.is_empty() { "" } else { "." };
        let argument = self.argument.replace('-', "_");
        format!("context.lineage.past.{method}.{what}.{argument}{dot}{window}")
    }

    /// A condition that is the given value, for a rule.
    fn condition(&self, is: &Is) -> String {
        let path = self.path();
        let (record, name) = path.rsplit_once('.').expect("a path has several names");
        let is_optional = self.what == "last";
        let has = if is_optional { format!("{record} has {name} && ") } else { String::new() };
        match is {
            Is::This(text) => format!("{has}{path} == {text}"),
            Is::Absent => format!("!({record} has {name})"),
            // The comparison is decided on whatever the value is.
            Is::Unknown => format!("{has}{path} == {path}"),
        }
    }

    /// Returns the figure's value at a step with these arguments and signer.
    fn of(&self, made: &[Made], step: &Made) -> Is {
        let span = match self.window {
            "minute" => MINUTE.as_millis() as u64,
            "hour" => HOUR.as_millis() as u64,
            "day" => DAY.as_millis() as u64,
            _ => u64::MAX,
        };
        let is_within = |time: u64| time.saturating_add(span) > step.time || span == u64::MAX;
        let of_method = made.iter().filter(|made| made.method == self.method);
        let had = of_method.filter_map(|made| Some((made, plain(made.argument(&self.argument)?)?)));
        let had: Vec<(&Made, Plain)> = had.collect();
        match self.what {
            "last" => had.last().map_or(Is::Absent, |(_, value)| value.text()),
            "sum" => sum(&had, self.window == "ever", is_within),
            "distinct" if !is_known(&had, false, is_within) => Is::Unknown,
            "distinct" => {
                let within = had.iter().filter(|(made, _)| is_within(made.time));
                let values: BTreeSet<&Plain> = within.map(|(_, value)| value).collect();
                Is::This(values.len().to_string())
            }
            what => {
                let signer = (what == "same_signer").then_some(step.signer);
                let present = step.argument(&self.argument).and_then(plain);
                let is_seen = same(&had, present, signer, is_within);
                is_seen.map_or(Is::Unknown, |is_seen| Is::This(is_seen.to_string()))
            }
        }
    }
}

/// The sum of what versions had.
fn sum(had: &[(&Made, Plain)], is_ever: bool, is_within: impl Fn(u64) -> bool) -> Is {
    // Numbers of which there was no room for the list.
    let listed = had.iter().filter(|(_, value)| value.number() != Some(0));
    let listed: Vec<u64> = listed.map(|(made, _)| made.time).collect();
    let dropped = listed.len().saturating_sub(PAST_VALUES_MAX);
    let is_listed = is_ever || dropped == 0 || !is_within(listed[dropped - 1]);
    let within = had.iter().filter(|(made, _)| is_within(made.time));
    let numbers: Vec<i128> = within.filter_map(|(_, value)| value.number()).collect();
    if !is_listed || numbers.iter().any(|number| *number < 0) {
        return Is::Unknown;
    }
    Is::This(numbers.iter().sum::<i128>().min(i64::MAX.into()).to_string())
}

/// Returns whether a version had the present value, of the present signer if that is asked; none
/// when it is unknown.
fn same(
    had: &[(&Made, Plain)],
    present: Option<Plain>,
    signer: Option<Option<PublicKey>>,
    is_within: impl Fn(u64) -> bool,
) -> Option<bool> {
    let (Some(present), Some((_, first))) = (present, had.first()) else { return Some(false) };
    // Another kind of value under the same name is never the same.
    let is_of_kind = std::mem::discriminant(&present) == std::mem::discriminant(first);
    if !is_of_kind || signer == Some(None) {
        return Some(false);
    }
    let is_it = |(made, value): &&(&Made, Plain)| {
        *value == present && signer.is_none_or(|signer| made.signer == signer)
    };
    let is_seen = had.iter().filter(is_it).any(|(made, _)| is_within(made.time));
    let is_known = is_known(had, signer.is_some(), is_within);
    (is_seen || is_known).then_some(is_seen)
}

/// Returns whether there was room for all values of a window.
fn is_known(had: &[(&Made, Plain)], is_signed: bool, is_within: impl Fn(u64) -> bool) -> bool {
    let mut seen = BTreeSet::new();
    let mut lasts: Vec<u64> = Vec::new();
    for (made, value) in had.iter().rev() {
        if is_signed && made.signer.is_none() {
            continue;
        }
        if seen.insert((value, made.signer.filter(|_| is_signed))) {
            lasts.push(made.time);
        }
    }
    lasts.get(PAST_VALUES_MAX).is_none_or(|dropped| !is_within(*dropped))
}

impl Made {
    fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A value by what rules compare.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Plain {
    Number(i128),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
}

fn plain(value: &Value) -> Option<Plain> {
    Some(match value {
        Value::Option(inner) => return inner.as_ref().and_then(|inner| plain(inner)),
        Value::Bool(value) => Plain::Bool(*value),
        Value::String(text) | Value::Enum(text) => Plain::Text(text.clone()),
        Value::Char(letter) => Plain::Text(letter.to_string()),
        Value::Bytes(bytes) => Plain::Bytes(bytes.clone()),
        value => Plain::Number(value.integer()?),
    })
}

impl Plain {
    fn number(&self) -> Option<i128> {
        if let Plain::Number(number) = self { Some(*number) } else { None }
    }

    /// The value as a rule writes it, if a ledger keeps it and a rule may read it.
    fn text(&self) -> Is {
        match self {
            Plain::Number(number) if *number > i64::MAX.into() => Is::Unknown,
            Plain::Number(number) => Is::This(number.to_string()),
            Plain::Bool(value) => Is::This(value.to_string()),
            Plain::Text(text) if text.len() > 256 => Is::Unknown,
            Plain::Text(text) => Is::This(quoted(text)),
            Plain::Bytes(bytes) => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                Is::This(quoted(&digits))
            }
        }
    }
}

fn arguments(rng: &mut StdRng, schema: &Schema, method: &str) -> Vec<(String, Value)> {
    let params = &schema.method(method).expect("the schema has it").params;
    params.iter().map(|param| (param.name.clone(), value(rng, &param.ty))).collect()
}

fn encoded(schema: &Schema, made: &Made) -> Result<Vec<u8>, String> {
    let params = schema.method(made.method).map(|method| &method.params[..]);
    let list: Vec<Value> = made.arguments.iter().map(|(_, value)| value.clone()).collect();
    must("encoding arguments", encode_args(&list, params.unwrap_or_default()))
}

/// Draws versions; sometimes more of different values than are remembered.
fn draw(rng: &mut StdRng, schema: &Schema) -> Vec<Made> {
    let mut made = Vec::new();
    let mut time = 1 << 40;
    let spans = [0, 1, 1000, MINUTE.as_millis() as u64, HOUR.as_millis() as u64 / 2]
        .map(|span| span.saturating_sub(u64::from(rng.random_bool(0.5))));
    for _ in 0..rng.random_range(0..40) {
        time += spans[rng.random_range(0..spans.len())];
        if rng.random_bool(0.05) {
            time += DAY.as_millis() as u64 / 2;
        }
        let method = ["pay", "look"][rng.random_range(0..2)];
        let arguments = arguments(rng, schema, method);
        let signer = KEYS.get(rng.random_range(0..3)).copied();
        made.push(Made { time, method, arguments, signer });
    }
    if rng.random_ratio(1, 40) {
        for count in 0..rng.random_range(PAST_VALUES_MAX..PAST_VALUES_MAX + 40) as u64 {
            // No two at one time: the first are the ones that there is no room for.
            time += 1 + 4 * u64::from(count % 64 == 0) * MINUTE.as_millis() as u64;
            let mut arguments = arguments(rng, schema, "pay");
            arguments[0].1 = Value::U64(1 + count);
            made.push(Made { time, method: "pay", arguments, signer: Some(KEYS[0]) });
        }
    }
    made
}

/// The text of rules, one for each figure, that hold where the figures are these.
fn rules(figures: &[(Figure, Is)]) -> String {
    let rule = |(index, (figure, is)): (usize, &(Figure, Is))| {
        let condition = figure.condition(is);
        format!("@id(\"r{index}\") permit(principal, action, resource) when {{ {condition} }};\n")
    };
    figures.iter().enumerate().map(rule).collect()
}

pub(super) fn run(rng: &mut StdRng, cast: &Cast, counts: &mut Counts) -> Outcome {
    let schema = must("the schema", Schema::parse(SCHEMA))?;
    let figures: BTreeSet<Figure> =
        (0..rng.random_range(1..8)).map(|_| Figure::draw(rng, &schema)).collect();
    let asked: Vec<(Figure, Is)> =
        figures.iter().map(|figure| (figure.clone(), Is::Unknown)).collect();
    let parsed = |text: &str| {
        let policy = Policy::decode(&Law::from(text).encode(), &schema);
        must(format_args!("parsing {text}"), policy)
    };
    let asking = parsed(&rules(&asked))?;
    let made = draw(rng, &schema);
    let mut ledger = Arc::new(Ledger::default());
    for (seq, made) in (1..).zip(&made) {
        let (method, arguments) = (made.method.to_string(), encoded(&schema, made)?);
        let request = Request::Call { method, arguments };
        let input = Input { request, time: Time::from_millis(made.time), credential: None };
        let signers: Vec<PublicKey> = made.signer.into_iter().collect();
        ledger = ledger.next(asking.tracked(), seq, &input, &signers);
    }
    let again = must("reading a ledger", Ledger::decode(&ledger.encode()))?;
    equal("the ledger that was written", &*ledger, &again)?;
    let last = made.last().map_or(1 << 40, |made| made.time);
    for _ in 0..10 {
        let spans =
            [0, 1, MINUTE.as_millis() as u64, HOUR.as_millis() as u64, DAY.as_millis() as u64];
        let span = spans[rng.random_range(0..5)];
        let method = ["pay", "look"][rng.random_range(0..2)];
        let mut step = Made {
            time: last + span.saturating_sub(rng.random_range(0..2)),
            method,
            arguments: arguments(rng, &schema, method),
            signer: KEYS.get(rng.random_range(0..3)).copied(),
        };
        // Often the arguments of an earlier version.
        if let Some(earlier) = made.iter().rfind(|it| it.method == method && rng.random_bool(0.3)) {
            step.arguments = earlier.arguments.clone();
        }
        // A figure that is unknown is asked for alone: nothing else is decided beside it.
        let found = figures.iter().map(|figure| (figure.clone(), figure.of(&made, &step)));
        let (unknown, known): (Vec<_>, Vec<_>) =
            found.partition(|(_, is)| matches!(is, Is::Unknown));
        let unknown = unknown.into_iter().map(|one| vec![one]);
        for asked in unknown.chain([known]).filter(|asked| !asked.is_empty()) {
            let text = rules(&asked);
            let decisions = decide(&parsed(&text)?, &schema, cast, &ledger, &step)?;
            let is_unknown = matches!(asked[0].1, Is::Unknown);
            for (how, decision) in decisions {
                let holds = match &decision {
                    Decision::Permit { rules } => !is_unknown && rules.len() == asked.len(),
                    Decision::Refuse { reason, .. } => {
                        is_unknown && !matches!(reason, Refusal::Forbidden | Refusal::NotPermitted)
                    }
                };
                if !holds {
                    return Err(format!("{how}, {decision:?} by {text}"));
                }
                counts.add(&decision);
            }
        }
    }
    Ok(())
}

/// Decides by Cedar, and by the compiled rules where they do.
fn decide(
    policy: &Policy,
    schema: &Schema,
    cast: &Cast,
    ledger: &Ledger,
    step: &Made,
) -> Result<Vec<(&'static str, Decision)>, String> {
    let mut rng = crate::generate::source(0);
    let placed = Placed::draw(&mut rng, &Type::Record(Arc::new(schema.state().clone())));
    let signers: Vec<PublicKey> = step.signer.into_iter().collect();
    let facts = Facts {
        principal: step.signer.map_or(Principal::Anonymous, |key| Principal::Key(key.0)),
        signers: &signers,
        time: Time::from_millis(step.time),
        past: &ledger.past,
        ..cast.facts(&mut rng, step.method)
    };
    let bytes = encoded(schema, step)?;
    let image = &&placed.image[..];
    let raw = Raw { before: image, after: image, state: STATE, arguments: &bytes };
    let values = Values { before: &placed.value, after: &placed.value, input: &step.arguments };
    let compiled =
        policy.decide_raw(&facts, &raw).map(|ruling| ("compiled", Decision::from(ruling)));
    Ok(compiled.into_iter().chain([("by Cedar", policy.decide(&facts, &values))]).collect())
}
