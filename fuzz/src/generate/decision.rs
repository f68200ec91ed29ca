//! Decisions: a schema of types that rules can see, valid rules over it, and steps of objects that
//! have it.
//!
//! Everything is drawn from few values, so that compared values are often equal, and from the
//! limits of representations. This module does not know the decisions.

use std::sync::Arc;
use std::time::Duration;

use object::credential::PublicKey;
use object::effects::Output;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::input::{Input, Request};
use object::ledger::{DAY, HOUR, Ledger, MINUTE, Mark};
use object::message::{Message, Origin};
use object::time::Time;
use policy::{Facts, Law, Policy, Principal};
use rand::RngExt;
use rand::rngs::StdRng;
use schema::{Param, Schema, Type, Value, encode_args};

use crate::generate::bytes::number;
use crate::generate::header;
use crate::outcome::must;

const TEXTS: &[&str] = &[
    "",
    "a",
    "aa",
    "b-b",
    "x",
    "z",
    "\u{e9}",
    "00",
    "00ff",
    "a*b",
    "\\\"",
    // Fields that are read.
    "f-0",
    // Keys that sign.
    "0000000000000000000000000000000000000000000000000000000000000000",
    "abababababababababababababababababababababababababababababababab",
];
const PATTERNS: &[&str] = &["*", "a*", "*a", "*0*f*", "a", "**", "*\u{e9}", "a\\*b", ""];
const INTEGERS: &[&str] = &["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64"];

/// Draws a WIT package whose types rules see, except a few.
pub(crate) fn schema(rng: &mut StdRng) -> String {
    let mut text = String::from(
        "package a:b; interface c {\nenum e { a, b-b, x }\nflags g { a, b-b, z }\nrecord q { ",
    );
    fields(rng, &mut text, false);
    text += " }\nrecord state { ";
    fields(rng, &mut text, true);
    text += " }\n";
    for index in 0..rng.random_range(1..4) {
        let count = rng.random_range(0..4);
        let params = (0..count).map(|at| format!("p-{at}: {}", ty(rng, at == 0)));
        text += &format!("m{index}: func({});\n", params.collect::<Vec<_>>().join(", "));
    }
    text + "}"
}

fn fields(rng: &mut StdRng, text: &mut String, nested: bool) {
    for index in 0..rng.random_range(1..7) {
        *text += &format!("f-{index}: {}, ", ty(rng, nested));
    }
}

fn ty(rng: &mut StdRng, nested: bool) -> String {
    let integer = INTEGERS[rng.random_range(0..INTEGERS.len())];
    let scalar = [integer, "bool", "string", "char", "e"][rng.random_range(0..5)];
    match rng.random_range(0..16) {
        0..5 => integer.to_string(),
        5..8 => scalar.to_string(),
        8 => "list<u8>".to_string(),
        9 | 10 => format!("list<{scalar}>"),
        11 => "g".to_string(),
        12 if nested => ["q", "option<q>"][rng.random_range(0..2)].to_string(),
        13 => format!("option<{scalar}>"),
        14 => ["f64", "tuple<u8, string>", "list<list<u16>>"][rng.random_range(0..3)].to_string(),
        _ => format!("option<list<{scalar}>>"),
    }
}

/// A value of a type.
pub(crate) fn value(rng: &mut StdRng, ty: &Type) -> Value {
    let few = |rng: &mut StdRng| match rng.random_bool(0.9) {
        true => rng.random_range(0..4),
        false => number(rng),
    };
    match ty {
        Type::Bool => Value::Bool(rng.random()),
        Type::U8 => Value::U8(few(rng) as u8),
        Type::U16 => Value::U16(few(rng) as u16),
        Type::U32 => Value::U32(few(rng) as u32),
        Type::U64 => Value::U64(few(rng)),
        Type::S8 => Value::S8(few(rng) as i8),
        Type::S16 => Value::S16(few(rng) as i16),
        Type::S32 => Value::S32(few(rng) as i32),
        Type::S64 => Value::S64(few(rng) as i64),
        Type::F32 => Value::F32(few(rng) as f32),
        Type::F64 => Value::F64(few(rng) as f64),
        Type::Char => Value::Char(['a', 'x', '\u{e9}', '\u{1f6eb}'][rng.random_range(0..4)]),
        Type::String if rng.random_bool(0.002) => {
            Value::String("a".repeat(4096 + rng.random_range(0..2)))
        }
        Type::String => Value::String(TEXTS[rng.random_range(0..TEXTS.len())].to_string()),
        Type::List(item) if matches!(**item, Type::U8) => {
            Value::Bytes([&[][..], &[0], &[0, 0xff], &[0xa0; 9]][rng.random_range(0..4)].to_vec())
        }
        Type::List(item) => {
            let edge = rng.random_bool(0.001);
            let count = if edge { rng.random_range(1020..1030) } else { rng.random_range(0..4) };
            Value::List((0..count).map(|_| value(rng, item)).collect())
        }
        Type::Option(payload) => {
            let there = rng.random_bool(0.6);
            Value::Option(there.then(|| Box::new(value(rng, payload))))
        }
        Type::Record(record) => {
            let fields = record.fields.iter();
            Value::Record(fields.map(|f| (f.name.clone(), value(rng, &f.ty))).collect())
        }
        Type::Tuple(tuple) => {
            Value::Tuple(tuple.items.iter().map(|(ty, _)| value(rng, ty)).collect())
        }
        Type::Enum(names) => {
            Value::Enum(names.cases[rng.random_range(0..names.cases.len())].clone())
        }
        Type::Flags(flags) => {
            let set = flags.flags.iter().filter(|_| rng.random_bool(0.5));
            Value::Flags(set.cloned().collect())
        }
        Type::Result(result) => {
            let ok = rng.random_bool(0.5);
            let side = if ok { &result.ok } else { &result.err };
            let payload = side.as_ref().map(|ty| Box::new(value(rng, ty)));
            Value::Result(if ok { Ok(payload) } else { Err(payload) })
        }
        Type::Variant(variant) => {
            let case = &variant.cases[rng.random_range(0..variant.cases.len())];
            let payload = case.payload.as_ref().map(|ty| Box::new(value(rng, ty)));
            Value::Variant(case.name.clone(), payload)
        }
    }
}

/// Fields that a read may be of.
const FIELDS: [&str; 4] = ["f-0", "f-1", "a", ""];
/// The actions whose past is known.
const PAST: [&str; 4] = ["m0", "advance", "write", "amend"];

/// The keys and objects that sign, act, or receive.
pub(crate) struct Cast {
    keys: [PublicKey; 3],
    object: ObjectId,
    outputs: Vec<Output>,
    origins: [Origin; 2],
    messages: Vec<Message>,
    ledgers: Vec<Arc<Ledger>>,
}

fn milliseconds(span: Duration) -> u64 {
    span.as_millis() as u64
}

impl Cast {
    pub(crate) fn new(rng: &mut StdRng, schema: &Schema) -> Result<Cast, String> {
        let output = |name: &&str| Output { name: name.to_string(), payload: Vec::new() };
        let message = |byte: u8| {
            let to = ObjectId([byte; 32]);
            Message { to, method: "m0".to_string(), arguments: Vec::new() }
        };
        let keys = [PublicKey([0; 32]), PublicKey([0xab; 32]), PublicKey([0xff; 32])];
        let mut ledger = Arc::new(Ledger::default());
        let mut ledgers = vec![Arc::clone(&ledger)];
        // A policy that asks for all of the past.
        let mut seen = Vec::new();
        of_the_past(&mut seen, schema);
        let all = seen.iter().map(|seen| guarded(format!("{0} == {0}", seen.path), &seen.guards));
        let all = all.collect::<Vec<_>>().join(") || (");
        let text =
            format!("@id(\"all\") permit(principal, action, resource) when {{ ({all}) }};\n");
        let policy = must("a policy of all", Policy::decode(&Law::from(&text).encode(), schema))?;
        let tracked = policy.tracked();
        let params = schema.method(PAST[0]).map_or(&[][..], |method| &method.params[..]);
        let mut time = 0;
        for seq in 1..100 {
            let [minute, hour, day] = [MINUTE, HOUR, DAY].map(milliseconds);
            time += [0, 1, 1000, minute, hour / 2, day / 3][rng.random_range(0..6)];
            let action = PAST[rng.random_range(0..PAST.len())];
            let request = match action {
                "advance" => Request::Cycle,
                "write" => Request::Write { fields: Vec::new() },
                "amend" => Request::Amend { policy: Vec::new() },
                method => {
                    let values = params.iter().map(|param| value(rng, &param.ty));
                    let arguments = encode_args(&values.collect::<Vec<_>>(), params);
                    let arguments = must("encoding arguments", arguments)?;
                    Request::Call { method: method.to_string(), arguments }
                }
            };
            let start = rng.random_range(0..keys.len());
            let signers = &keys[start..rng.random_range(start..=keys.len())];
            let input = Input { request, time: Time::from_millis(time), credential: None };
            ledger = ledger.next(tracked, seq, &input, signers);
            if seq % 12 == 0 {
                ledgers.push(Arc::clone(&ledger));
            }
        }
        Ok(Cast {
            keys,
            object: ObjectId([7; 32]),
            outputs: ["a", "b-b", "x"].iter().map(output).collect(),
            origins: [0, 0xab].map(|byte| Origin {
                code: CodeHash([byte; 32]),
                policy: PolicyHash([byte; 32]),
                first_policy: (byte > 0).then_some(PolicyHash([byte; 32])),
                ..header::origin(rng)
            }),
            messages: [0, 0xab, 0xff].map(message).to_vec(),
            ledgers,
        })
    }

    /// Facts of a step of some action.
    pub(crate) fn facts<'a>(&'a self, rng: &mut StdRng, action: &'a str) -> Facts<'a> {
        let mut some = |count: usize| {
            let start = rng.random_range(0..=count);
            start..rng.random_range(start..=count)
        };
        let (signers, outputs) = (&self.keys[some(3)], &self.outputs[some(3)]);
        let messages = &self.messages[some(3)];
        let few = |rng: &mut StdRng| match rng.random_bool(0.98) {
            true => rng.random_range(0..6),
            false => number(rng),
        };
        let past = &self.ledgers[rng.random_range(0..self.ledgers.len())].past;
        let last = PAST.iter().filter_map(|action| past.of(action)).map(Mark::time).max();
        let [minute, hour, day] = [MINUTE, HOUR, DAY].map(milliseconds);
        let since = [0, 1, minute - 1, minute, hour, day][rng.random_range(0..6)];
        Facts {
            principal: match rng.random_range(0..4) {
                0 => Principal::Anonymous,
                1 => Principal::Object(self.object),
                _ => Principal::Key(self.keys[rng.random_range(0..3)].0),
            },
            action,
            field: (action == "read").then(|| FIELDS[rng.random_range(0..FIELDS.len())]),
            object: self.object,
            signers,
            credential: ["none", "signature", "batch", "session"][rng.random_range(0..4)],
            sender: self.origins.get(rng.random_range(0..4)),
            outputs,
            messages,
            wake: rng.random_bool(0.6).then(|| few(rng)).map(Time::from_millis),
            seq: few(rng),
            age_ms: few(rng),
            fuel: few(rng),
            pages: few(rng) as u32,
            time: match rng.random_bool(0.5) {
                true => last.unwrap_or_default().saturating_add(Duration::from_millis(since)),
                false => Time::from_millis(few(rng)),
            },
            past,
            instrumentation: few(rng) as u32,
            code: CodeHash([[0, 0xab][rng.random_range(0..2)]; 32]),
            policy: PolicyHash([[0, 0xab][rng.random_range(0..2)]; 32]),
            upgrade: (action == "upgrade").then(|| {
                let [code, policy] =
                    std::array::from_fn(|_| [[0, 0xab][rng.random_range(0..2)]; 32]);
                (CodeHash(code), PolicyHash(policy))
            }),
        }
    }

    fn entity(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..5) {
            0 => "Anonymous::\"\"".to_string(),
            1 => format!("Object::\"{}\"", self.object),
            2 => "Key::\"a\"".to_string(),
            _ => format!("Key::\"{}\"", self.keys[rng.random_range(0..3)]),
        }
    }
}

/// The type of a value to a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Bool,
    Long,
    Text,
    Bools,
    Longs,
    Texts,
}

/// A value that rules see.
struct Seen {
    path: String,
    /// The conditions that must hold before the path may be named.
    guards: Vec<String>,
    sort: Sort,
}

/// The facts that do not depend on a schema.
fn facts(common: &mut Vec<Seen>) {
    for (path, sort) in [
        ("context.signers", Sort::Texts),
        ("context.effects.outputs", Sort::Texts),
        ("context.effects.receivers", Sort::Texts),
        ("context.lineage.seq", Sort::Long),
        ("context.lineage.age", Sort::Long),
        ("context.cost.fuel", Sort::Long),
        ("context.cost.pages", Sort::Long),
        ("context.time", Sort::Long),
        ("context.substrate.instrumentation", Sort::Long),
        ("context.policy", Sort::Text),
        ("context.code", Sort::Text),
        ("context.credential", Sort::Text),
    ] {
        common.push(Seen { path: path.to_string(), guards: Vec::new(), sort });
    }
    for (record, name, sort) in [
        ("sender", "code", Sort::Text),
        ("sender", "policy", Sort::Text),
        ("sender", "first_policy", Sort::Text),
        ("effects", "wake", Sort::Long),
    ] {
        common.push(Seen {
            path: format!("context.{record}.{name}"),
            guards: vec![format!("context.{record} has {name}")],
            sort,
        });
    }
}

/// The facts of the past, those of arguments included.
fn of_the_past(common: &mut Vec<Seen>, schema: &Schema) {
    for action in PAST {
        let of = format!("context.lineage.past.{action}");
        for name in ["count", "minute", "minute_signers", "hour", "day", "day_signers"] {
            let path = format!("{of}.{name}");
            common.push(Seen { path, guards: Vec::new(), sort: Sort::Long });
        }
        for name in ["seq", "time"] {
            let (path, guards) = (format!("{of}.{name}"), vec![format!("{of} has {name}")]);
            common.push(Seen { path, guards, sort: Sort::Long });
        }
        let params = schema.method(action).map_or(&[][..], |method| &method.params[..]);
        for Param { name, ty } in params {
            let (of_it, mut last) = (name.replace('-', "_"), Vec::new());
            see(&mut last, &format!("{of}.last"), name, inner(ty), &[]);
            // Records and sets are not remembered.
            let is_scalar = |seen: &Seen| matches!(seen.sort, Sort::Bool | Sort::Long | Sort::Text);
            let Some(mut last) = last.pop().filter(is_scalar) else { continue };
            if last.path != format!("{of}.last.{of_it}") {
                continue;
            }
            let mut figure = |what: &str, sort| {
                for window in ["minute", "hour", "day", "ever"] {
                    let path = format!("{of}.{what}.{of_it}.{window}");
                    common.push(Seen { path, guards: Vec::new(), sort });
                }
            };
            figure("same", Sort::Bool);
            figure("same_signer", Sort::Bool);
            figure("distinct", Sort::Long);
            if last.sort == Sort::Long {
                figure("sum", Sort::Long);
            }
            last.guards = vec![format!("{of}.last has {of_it}")];
            common.push(last);
        }
    }
}

/// The type of an argument that is there.
fn inner(ty: &Type) -> &Type {
    match ty {
        Type::Option(payload) => payload,
        ty => ty,
    }
}

/// The actions of a schema, with the values that rules on each of them see.
pub(crate) struct Visible {
    actions: Vec<(String, Vec<Seen>)>,
    common: Vec<Seen>,
}

impl Visible {
    pub(crate) fn new(schema: &Schema) -> Visible {
        let mut common = Vec::new();
        for state in ["context.before", "context.after"] {
            for field in &schema.state().fields {
                see(&mut common, state, &field.name, &field.ty, &[]);
            }
        }
        facts(&mut common);
        for field in &schema.state().fields {
            if matches!(&field.ty, Type::List(item) if matches!(**item, Type::String)) {
                let path = format!("context.approvals.{}", field.name.replace('-', "_"));
                common.push(Seen { path, guards: Vec::new(), sort: Sort::Long });
            }
        }
        for field in &schema.state().fields {
            let Type::List(item) = &field.ty else { continue };
            if !matches!(**item, Type::U8 | Type::List(_)) {
                for what in ["before", "after", "added", "removed"] {
                    let path = format!("context.counts.{}.{what}", field.name.replace('-', "_"));
                    common.push(Seen { path, guards: Vec::new(), sort: Sort::Long });
                }
            }
        }
        of_the_past(&mut common, schema);
        let methods = schema.methods().iter().map(|method| {
            let mut seen = Vec::new();
            for param in &method.params {
                see(&mut seen, "context.input", &param.name, &param.ty, &[]);
            }
            (method.name.clone(), seen)
        });
        let own = ["advance", "write", "amend", "open_session", "migrate"]
            .map(|name| (name.to_string(), Vec::new()));
        let field =
            Seen { path: "context.field".to_string(), guards: Vec::new(), sort: Sort::Text };
        let read = ("read".to_string(), vec![field]);
        let upgraded = ["context.upgrade.code", "context.upgrade.policy"];
        let upgraded = upgraded.map(|path| {
            let (path, guards) = (path.to_string(), Vec::new());
            Seen { path, guards, sort: Sort::Text }
        });
        let upgrade = ("upgrade".to_string(), upgraded.into());
        Visible { actions: methods.chain(own).chain([read, upgrade]).collect(), common }
    }

    /// The name of some action.
    pub(crate) fn action(&self, rng: &mut StdRng) -> &str {
        &self.actions[rng.random_range(0..self.actions.len())].0
    }

    /// Some rules.
    pub(crate) fn rules(&self, rng: &mut StdRng, cast: &Cast) -> String {
        let mut text = String::new();
        for index in 0..rng.random_range(1..6) {
            let (action, own) = &self.actions[rng.random_range(0..self.actions.len())];
            let other = self.action(rng);
            let (scope, seen) = match rng.random_range(0..4) {
                0 => ("action".to_string(), None),
                1 => {
                    let scope = format!("action in [Action::\"{action}\", Action::\"{other}\"]");
                    (scope, None)
                }
                _ => (format!("action == Action::\"{action}\""), Some(own)),
            };
            // The cycle is an object's own.
            let any = ["principal", "principal is Object"][rng.random_range(0..2)].to_string();
            let principal = match rng.random_range(0..4) {
                0 if action != "advance" => format!("principal == {}", cast.entity(rng)),
                1 if action != "advance" => format!("principal in {}", cast.entity(rng)),
                2 => any,
                _ => "principal".to_string(),
            };
            let resource = match rng.random_range(0..4) {
                0 => format!("resource == Object::\"{}\"", cast.object),
                1 => "resource is Object".to_string(),
                _ => "resource".to_string(),
            };
            let effect = ["permit", "forbid"][rng.random_range(0..2)];
            text += &format!("@id(\"r{index}\") {effect}({principal}, {scope}, {resource})");
            let drawer = Drawer { common: &self.common, own: seen, action, cast };
            for _ in 0..rng.random_range(0..3) {
                let clause = ["when", "unless"][rng.random_range(0..2)];
                let condition = match rng.random_range(0..9) {
                    8 => drawer.bounds(rng),
                    depth => drawer.truth(rng, depth % 4),
                };
                text += &format!(" {clause} {{ {condition} }}");
            }
            text += ";\n";
        }
        text
    }
}

fn see(seen: &mut Vec<Seen>, record: &str, name: &str, ty: &Type, guards: &[String]) {
    let attribute = name.replace('-', "_");
    let (mut guards, path) = (guards.to_vec(), format!("{record}.{attribute}"));
    let ty = match ty {
        Type::Option(payload) => {
            guards.push(format!("{record} has {attribute}"));
            payload
        }
        ty => ty,
    };
    let sort = match ty {
        Type::Record(inner) => {
            return inner
                .fields
                .iter()
                .for_each(|field| see(seen, &path, &field.name, &field.ty, &guards));
        }
        Type::Bool => Sort::Bool,
        Type::String | Type::Char | Type::Enum(_) => Sort::Text,
        Type::Flags(_) => Sort::Texts,
        Type::List(item) => match &**item {
            Type::U8 => Sort::Text,
            Type::Bool => Sort::Bools,
            Type::String | Type::Char | Type::Enum(_) => Sort::Texts,
            Type::List(_) => return,
            _ => Sort::Longs,
        },
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Sort::Long,
        Type::S8 | Type::S16 | Type::S32 | Type::S64 => Sort::Long,
        _ => return,
    };
    seen.push(Seen { path, guards, sort });
}

/// Draws expressions for one rule.
struct Drawer<'a> {
    common: &'a [Seen],
    /// The attributes that only steps of the rule's action have.
    own: Option<&'a Vec<Seen>>,
    action: &'a str,
    cast: &'a Cast,
}

/// An expression, and what has to hold before it may be evaluated.
type Guarded = (String, Vec<String>);

impl Drawer<'_> {
    /// Some value of a sort, if there is one.
    fn seen(&self, rng: &mut StdRng, sort: Sort) -> Option<Guarded> {
        let own = self.own.into_iter().flatten();
        let all: Vec<&Seen> =
            self.common.iter().chain(own).filter(|seen| seen.sort == sort).collect();
        if all.is_empty() {
            return None;
        }
        let seen = all[rng.random_range(0..all.len())];
        Some((seen.path.clone(), seen.guards.clone()))
    }

    fn truth(&self, rng: &mut StdRng, depth: u32) -> String {
        if depth == 0 {
            return self.leaf(rng);
        }
        let (one, other) = (self.truth(rng, depth - 1), self.truth(rng, depth - 1));
        match rng.random_range(0..8) {
            0 => format!("({one} && {other})"),
            1 => format!("({one} || {other})"),
            2 => format!("!({one})"),
            // Conditions that exclude each other, or nearly.
            3 => format!("({one} && !({}))", [&one, &other][rng.random_range(0..2)]),
            4 => self.bounds(rng),
            5 => format!("(if {one} then {other} else {})", self.truth(rng, depth - 1)),
            6 => format!("(({one}) == ({other}))"),
            _ => self.leaf(rng),
        }
    }

    /// Draws comparisons of one number, or text, that are to hold together.
    fn bounds(&self, rng: &mut StdRng) -> String {
        let (is_text, count) = (rng.random_bool(0.2), rng.random_range(2..4));
        if !is_text && rng.random_bool(0.4) {
            let ((value, guards), only) = (self.number(rng, 0), rng.random_range(0..4));
            return guarded(format!("{value} >= {only} && {value} <= {only}"), &guards);
        }
        let (value, guards) = if is_text { self.text(rng) } else { self.number(rng, 1) };
        let parts = (0..count).map(|_| {
            let (other, more) = match (is_text, rng.random_bool(0.2)) {
                (true, false) => (quoted(TEXTS[rng.random_range(0..TEXTS.len())]), Vec::new()),
                (true, true) => self.text(rng),
                (false, false) => (rng.random_range(-1..6).to_string(), Vec::new()),
                (false, true) => self.number(rng, 1),
            };
            let operators = ["==", "!=", "<", "<=", ">", ">="];
            let operator = operators[rng.random_range(0..if is_text { 2 } else { 6 })];
            let (one, other) = match rng.random_bool(0.7) {
                true => (value.as_str(), other.as_str()),
                false => (other.as_str(), value.as_str()),
            };
            guarded(format!("{one} {operator} {other}"), &more)
        });
        guarded(parts.collect::<Vec<_>>().join(" && "), &guards)
    }

    fn leaf(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..12) {
            0 => ["true", "false"][rng.random_range(0..2)].to_string(),
            1 => match rng.random_range(0..4) {
                0 => format!("principal == {}", self.cast.entity(rng)),
                1 => format!("principal != {}", self.cast.entity(rng)),
                2 => format!(
                    "[{}, {}].contains(principal)",
                    format_args!("Key::\"{}\"", self.cast.keys[0]),
                    format_args!("Key::\"{}\"", self.cast.keys[2]),
                ),
                _ => "principal is Key".to_string(),
            },
            2 => format!("action == Action::\"{}\"", self.action),
            3 => self.presence(rng),
            4 => match rng.random_range(0..8) {
                0 => "context.before == context.after".to_string(),
                1 => "context.cost == {fuel: 1, pages: 2}".to_string(),
                _ => "context.effects.outputs.isEmpty()".to_string(),
            },
            5..8 => {
                let operator = ["<", "<=", "==", "!=", ">", ">="][rng.random_range(0..6)];
                let (one, mut guards) = self.number(rng, 2);
                let (other, more) = self.number(rng, 2);
                guards.extend(more);
                guarded(format!("{one} {operator} {other}"), &guards)
            }
            8 | 9 => self.about_texts(rng),
            10 => self
                .seen(rng, Sort::Bool)
                .map_or("true".to_string(), |(path, guards)| guarded(path, &guards)),
            _ => self.about_sets(rng),
        }
    }

    /// Draws a test for the presence of something optional.
    fn presence(&self, rng: &mut StdRng) -> String {
        let own = self.own.into_iter().flatten();
        let guards = self.common.iter().chain(own).filter(|seen| !seen.guards.is_empty());
        let guards: Vec<&Vec<String>> = guards.map(|seen| &seen.guards).collect();
        let guards = guards[rng.random_range(0..guards.len())];
        let (last, before) = guards.split_last().expect("there is a guard");
        guarded(last.clone(), before)
    }

    fn number(&self, rng: &mut StdRng, depth: u32) -> Guarded {
        if depth > 0 && rng.random_bool(0.4) {
            let (one, mut guards) = self.number(rng, depth - 1);
            let (other, more) = self.number(rng, depth - 1);
            guards.extend(more);
            let operator = ["+", "-", "*"][rng.random_range(0..3)];
            let negation = if rng.random_bool(0.1) { "-" } else { "" };
            return (format!("{negation}({one} {operator} {other})"), guards);
        }
        let literal = match rng.random_bool(0.95) {
            true => rng.random_range(-1..6),
            false => [i64::MIN, i64::MAX, i64::MIN + 1][rng.random_range(0..3)],
        };
        let seen = if rng.random_bool(0.7) { self.seen(rng, Sort::Long) } else { None };
        seen.unwrap_or_else(|| (literal.to_string(), Vec::new()))
    }

    fn text(&self, rng: &mut StdRng) -> Guarded {
        let seen = if rng.random_bool(0.6) { self.seen(rng, Sort::Text) } else { None };
        seen.unwrap_or_else(|| (quoted(TEXTS[rng.random_range(0..TEXTS.len())]), Vec::new()))
    }

    fn about_texts(&self, rng: &mut StdRng) -> String {
        let (one, mut guards) = self.text(rng);
        if rng.random_bool(0.3) {
            let pattern = PATTERNS[rng.random_range(0..PATTERNS.len())];
            return guarded(format!("{one} like \"{pattern}\""), &guards);
        }
        let (other, more) = self.text(rng);
        guards.extend(more);
        let operator = ["==", "!="][rng.random_range(0..2)];
        guarded(format!("{one} {operator} {other}"), &guards)
    }

    fn about_sets(&self, rng: &mut StdRng) -> String {
        let (items, item) =
            [(Sort::Longs, Sort::Long), (Sort::Texts, Sort::Text), (Sort::Bools, Sort::Bool)]
                [rng.random_range(0..3)];
        let set = |rng: &mut StdRng| {
            let seen = if rng.random_bool(0.6) { self.seen(rng, items) } else { None };
            seen.unwrap_or_else(|| {
                let literals = (0..rng.random_range(1..4)).map(|_| match item {
                    Sort::Long => rng.random_range(0..4).to_string(),
                    Sort::Bool => rng.random::<bool>().to_string(),
                    _ => quoted(TEXTS[rng.random_range(0..TEXTS.len())]),
                });
                (format!("[{}]", literals.collect::<Vec<_>>().join(", ")), Vec::new())
            })
        };
        let (one, mut guards) = set(rng);
        let (expr, more) = match rng.random_range(0..6) {
            0 => (format!("{one}.isEmpty()"), Vec::new()),
            1 | 2 => {
                let (item, more) = match item {
                    Sort::Long => self.number(rng, 1),
                    Sort::Bool => (self.truth(rng, 1), Vec::new()),
                    _ => self.text(rng),
                };
                (format!("{one}.contains({item})"), more)
            }
            which => {
                let (other, more) = set(rng);
                let expr = match which {
                    3 => format!("{one}.containsAll({other})"),
                    4 => format!("{one}.containsAny({other})"),
                    _ => format!("{one} == {other}"),
                };
                (expr, more)
            }
        };
        guards.extend(more);
        guarded(expr, &guards)
    }
}

/// An expression behind its guards.
fn guarded(expr: String, guards: &[String]) -> String {
    match guards.is_empty() {
        true => format!("({expr})"),
        false => format!("({} && ({expr}))", guards.join(" && ")),
    }
}

pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
