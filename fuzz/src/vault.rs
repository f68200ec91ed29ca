//! The vault: an object made to be fuzzed, as a module and again in a few lines of Rust, with laws
//! in Cedar's words and in Rust's.
//!
//! The Rust code here shares nothing with the code that it is compared with: no layout, no policy,
//! no nonces. It does not know the requests, nor their order.

pub(crate) mod forged;
pub(crate) mod guard;
pub(crate) mod host;
pub(crate) mod law;
pub(crate) mod mind;
pub(crate) mod model;
pub(crate) mod salts;

use std::sync::{Arc, OnceLock};

use continuant::{Call, Database, ObjectId, Session, args};
use object::effects::WakeChange;
use object::hash::VersionHash;
use object::image::BaseImage;
use object::input::Request;
use object::limits::{FUEL_MAX, PAGE_BYTES};
use object::memory::Page;
use object::message::Origin;
use object::time::Time;
use policy::definition::Definition;
use rand::RngExt;
use rand::rngs::StdRng;
use schema::{Value, encode_args, encode_value};

use self::law::{Law, sessions};
use self::model::WEEK;
use crate::generate::bytes::number;

/// The page that the state is in.
pub(crate) const STATE_PAGE: u32 = 1;

const TEXT: &str = r#"(module
  (import "continuant" "now" (func $now (result i64)))
  (import "continuant" "wake" (func $wake (param i64)))
  (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))
  (@custom "continuant:schema"
    "package fuzz:vault@1.0.0;\n"
    "interface vault {\n"
    "    record state {\n"
    "        count: u64, stamp: u64, first: option<u32>, second: option<u32>, open: bool,\n"
    "    }\n"
    "    add: func(more: u64) -> u64;\n"
    "    put: func(second: bool, value: u32);\n"
    "    plan: func(at: u64);\n"
    "}\n")
  (memory (export "memory") 1 1)
  (global (export "state") i32 (i32.const 4096))
  (data (i32.const 0) "put")
  (func $count (param $more i64)
    (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get $more)))
    (i64.store (i32.const 4104) (call $now)))
  (func (export "add") (param $more i64) (result i64)
    (call $count (local.get $more))
    (i64.load (i32.const 4096)))
  (func (export "put") (param $second i32) (param $value i32)
    (local $at i32)
    (local.set $at (i32.add (i32.const 4112) (i32.shl (local.get $second) (i32.const 3))))
    (i32.store8 (local.get $at) (i32.const 1))
    (i32.store offset=4 (local.get $at) (local.get $value))
    (i64.store (i32.const 4104) (call $now))
    (call $emit (i32.const 0) (i32.const 3) (local.get $at) (i32.const 8)))
  (func (export "plan") (param $at i64)
    (call $count (i64.const 0))
    (call $wake (local.get $at)))
  (func (export "cycle") (call $count (i64.const 1))))"#;

/// The module.
pub(crate) fn wasm() -> &'static [u8] {
    static WASM: OnceLock<Vec<u8>> = OnceLock::new();
    WASM.get_or_init(|| wat::parse_str(TEXT).expect("the vault's text is a module"))
}

/// The vault under a law. Call it on a thread with a stack for policies.
pub(crate) fn definition(law: Law) -> Arc<Definition> {
    static DEFINITIONS: OnceLock<Vec<Arc<Definition>>> = OnceLock::new();
    let made = |law: &Law| {
        Arc::new(Definition::new(wasm(), &law.cedar()).expect("the vault has valid laws"))
    };
    let all = DEFINITIONS.get_or_init(|| Law::ALL.iter().map(made).collect());
    Arc::clone(&all[law as usize])
}

/// A base image that is as small as the vault's can be.
pub(crate) fn base() -> Arc<BaseImage> {
    static BASE: OnceLock<Arc<BaseImage>> = OnceLock::new();
    let made = || {
        let mut memory = [0; 2 * PAGE_BYTES];
        memory[..3].copy_from_slice(b"put");
        Arc::new(BaseImage::new(&memory, Vec::new()).expect("two pages are within the limits"))
    };
    Arc::clone(BASE.get_or_init(made))
}

/// The state of a vault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    pub(crate) count: u64,
    pub(crate) stamp: u64,
    pub(crate) first: Option<u32>,
    pub(crate) second: Option<u32>,
    pub(crate) open: bool,
}

impl State {
    /// Returns its bytes in memory, by the rules of the ABI in `guest/ABI.md`.
    pub(crate) fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.stamp.to_le_bytes());
        for (at, entry) in [(16, self.first), (24, self.second)] {
            if let Some(entry) = entry {
                bytes[at] = 1;
                bytes[at + 4..at + 8].copy_from_slice(&entry.to_le_bytes());
            }
        }
        bytes[32] = u8::from(self.open);
        bytes
    }

    /// The page that has it and nothing else.
    pub(crate) fn page(&self) -> Page {
        let mut page = [0; PAGE_BYTES];
        page[..40].copy_from_slice(&self.bytes());
        page
    }

    /// Returns it as a value of its schema.
    pub(crate) fn value(&self) -> Value {
        let fields = [
            ("count", Value::from(self.count)),
            ("stamp", self.stamp.into()),
            ("first", self.first.into()),
            ("second", self.second.into()),
            ("open", self.open.into()),
        ];
        Value::Record(fields.map(|(name, value)| (name.to_string(), value)).to_vec())
    }

    fn set(&mut self, field: &Field) {
        match *field {
            Field::Count(count) => self.count = count,
            Field::Stamp(stamp) => self.stamp = stamp,
            Field::First(entry) => self.first = entry,
            Field::Second(entry) => self.second = entry,
            Field::Open(open) => self.open = open,
        }
    }

    /// Some state that is not far from this one.
    pub(crate) fn near(mut self, rng: &mut StdRng, time: u64) -> State {
        for _ in 0..rng.random_range(0..3) {
            self.set(&Field::draw(rng, &self, time));
        }
        self
    }
}

/// A field of the state, and its new value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    Count(u64),
    Stamp(u64),
    First(Option<u32>),
    Second(Option<u32>),
    Open(bool),
}

impl Field {
    fn draw(rng: &mut StdRng, state: &State, time: u64) -> Field {
        let entry = rng.random_bool(0.7).then(|| rng.random_range(0..3));
        match rng.random_range(0..8) {
            0..3 => Field::Count(match rng.random_range(0..8) {
                0 => number(rng),
                1 => state.count.wrapping_sub(1),
                _ => state.count.wrapping_add(rng.random_range(0..14)),
            }),
            3 => Field::Stamp(if rng.random_bool(0.8) { time } else { number(rng) }),
            4 => Field::First(entry),
            5 => Field::Second(entry),
            _ => Field::Open(rng.random()),
        }
    }

    /// Returns the field's path and value.
    pub(crate) fn value(&self) -> (&'static str, Value) {
        match *self {
            Field::Count(count) => ("count", count.into()),
            Field::Stamp(stamp) => ("stamp", stamp.into()),
            Field::First(entry) => ("first", entry.into()),
            Field::Second(entry) => ("second", entry.into()),
            Field::Open(open) => ("open", open.into()),
        }
    }
}

/// A request to a vault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Add(u64),
    Put(bool, u32),
    Plan(u64),
    Cycle,
    Write(Vec<Field>),
    /// A write that the schema does not have.
    Nonsense,
    /// Opens one of the sessions, until a time.
    Open(usize, u64),
    /// Another law or, without one, bytes that are none.
    Amend(Option<Law>),
    /// Adds, by the message of an object under a law.
    Hear(Law, u64),
    /// Deletes the vault.
    Delete,
}

impl Ask {
    pub(crate) fn draw(rng: &mut StdRng, state: &State, time: u64) -> Ask {
        match rng.random_range(0..30) {
            29 => Ask::Delete,
            26..29 => {
                let any = Law::ALL[rng.random_range(0..Law::ALL.len())];
                let law = if rng.random_bool(0.5) { Law::Kin } else { any };
                Ask::Hear(law, rng.random_range(0..12))
            }
            0..6 => Ask::Add(match rng.random_range(0..8) {
                0 => number(rng),
                1 => rng.random_range(0..200),
                _ => rng.random_range(0..12),
            }),
            6..9 => Ask::Put(rng.random(), rng.random_range(0..3)),
            9..11 => Ask::Plan(time + [0, 1, 700, 99_000, 101_000][rng.random_range(0..5)]),
            11..14 => Ask::Cycle,
            14 => Ask::Nonsense,
            15..18 => {
                let expires = match rng.random_range(0..12) {
                    0 => time.saturating_sub(1),
                    1 => time,
                    2 => time + WEEK,
                    3 => time + WEEK + 1,
                    4..7 => time + 2000,
                    _ => time + 100_000,
                };
                Ask::Open(rng.random_range(0..sessions().len() - 1), expires)
            }
            18..20 => Ask::Amend(match rng.random_range(0..10) {
                0 => None,
                1..6 => Some([Law::Charter, Law::Handed][rng.random_range(0..2)]),
                _ => Some(Law::ALL[rng.random_range(0..Law::ALL.len())]),
            }),
            _ => {
                let count = rng.random_range(0..4);
                Ask::Write((0..count).map(|_| Field::draw(rng, state, time)).collect())
            }
        }
    }

    /// Returns the request as the engine takes it.
    pub(crate) fn request(&self) -> Request {
        let schema = &definition(Law::Open).schema;
        let call = |method: &str, arguments: &[Value]| {
            let params = &schema.method(method).expect("the vault has the method").params;
            let arguments = encode_args(arguments, params).expect("arguments of the method");
            Request::Call { method: method.to_string(), arguments }
        };
        match self {
            Ask::Add(more) => call("add", &[(*more).into()]),
            Ask::Put(second, value) => call("put", &[(*second).into(), (*value).into()]),
            Ask::Plan(at) => call("plan", &[(*at).into()]),
            Ask::Cycle => Request::Cycle,
            Ask::Write(fields) => {
                let encode = |field: &Field| {
                    let (path, value) = field.value();
                    let place = schema.resolve(path).expect("the vault has the field");
                    let value = encode_value(&value, place.ty()).expect("a value of the field");
                    (path.to_string(), value)
                };
                Request::Write { fields: fields.iter().map(encode).collect() }
            }
            Ask::Nonsense => Request::Write { fields: vec![("gone".to_string(), vec![1])] },
            Ask::Open(which, expires) => Request::OpenSession {
                session: sessions()[*which].id(),
                expires: Time::from_millis(*expires),
            },
            Ask::Amend(law) => {
                let mut policy = definition(law.unwrap_or(Law::Open)).policy.encode();
                if law.is_none() {
                    policy.pop();
                }
                Request::Amend { policy }
            }
            Ask::Hear(law, more) => {
                let Request::Call { method, arguments } = call("add", &[(*more).into()]) else {
                    unreachable!("it is a call")
                };
                let parts = definition(*law).parts();
                let origin = Origin {
                    sender: ObjectId([8; 32]),
                    seq: *more,
                    version: VersionHash([9; 32]),
                    code: parts.code,
                    policy: parts.policy,
                    first_policy: Some(parts.policy),
                    index: 0,
                    fuel: FUEL_MAX,
                };
                Request::Message { origin: Box::new(origin), method, arguments }
            }
            Ask::Delete => Request::Delete,
        }
    }

    /// Returns the call as a database takes it; none for a request that its API does not permit.
    pub(crate) fn call<'d>(&self, db: &'d Database, id: ObjectId) -> Option<Call<'d>> {
        Some(match self {
            Ask::Add(more) => db.call(id, "add", args![*more]),
            Ask::Put(second, value) => db.call(id, "put", args![*second, *value]),
            Ask::Plan(at) => db.call(id, "plan", args![*at]),
            Ask::Write(fields) => db.write(id, fields.iter().map(Field::value).collect()),
            Ask::Open(which, expires) => {
                let secret = sessions()[*which].secret();
                db.open_session(id, &Session::from_secret(&secret, Time::from_millis(*expires)))
            }
            Ask::Amend(Some(law)) => db.amend_for_good(id, &law.cedar()),
            Ask::Delete => db.delete(id),
            Ask::Cycle | Ask::Nonsense | Ask::Amend(None) | Ask::Hear(..) => return None,
        })
    }

    /// Returns whether the request sets fields.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self, Ask::Write(_) | Ask::Nonsense)
    }

    /// Returns whether the request runs code.
    pub(crate) fn runs_code(&self) -> bool {
        !self.is_write() && !matches!(self, Ask::Open(..) | Ask::Amend(_) | Ask::Delete)
    }

    /// Returns the outcome of the vault's code, or of the write, on a state at a time.
    pub(crate) fn made(&self, before: &State, time: u64) -> Made {
        let mut made = Made { state: *before, wake: WakeChange::Keep, emits: None, result: vec![] };
        match self {
            Ask::Add(more) | Ask::Hear(_, more) => {
                made.state.count = before.count.wrapping_add(*more);
                made.state.stamp = time;
                made.result = made.state.count.to_le_bytes().to_vec();
            }
            Ask::Put(second, value) => {
                let entry = if *second { &mut made.state.second } else { &mut made.state.first };
                *entry = Some(*value);
                made.state.stamp = time;
                let mut emitted = [1, 0, 0, 0, 0, 0, 0, 0];
                emitted[4..].copy_from_slice(&value.to_le_bytes());
                made.emits = Some(emitted);
            }
            // A wake is never at the time of its own step.
            Ask::Plan(at) => {
                made.state.stamp = time;
                made.wake = WakeChange::Set(Time::from_millis((*at).max(time + 1)));
            }
            Ask::Cycle => {
                made.state.count = before.count.wrapping_add(1);
                made.state.stamp = time;
            }
            Ask::Write(fields) => fields.iter().for_each(|field| made.state.set(field)),
            Ask::Nonsense | Ask::Open(..) | Ask::Amend(_) => {}
            Ask::Delete => made.wake = WakeChange::Clear,
        }
        made
    }
}

/// The outcome of a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Made {
    pub(crate) state: State,
    pub(crate) wake: WakeChange,
    /// The payload of the step's emit, under the name "put".
    pub(crate) emits: Option<[u8; 8]>,
    pub(crate) result: Vec<u8>,
}
