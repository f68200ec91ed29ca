//! The policy of an object: Cedar rules that decide which changes are admitted, over the facts of a
//! step, validated against the object's own schema.
//!
//! A step is refused unless a rule permits it, if a rule forbids it, and if any rule fails on it:
//! Cedar itself would skip a failing `forbid`. Cedar's parser and evaluator need stack in
//! proportion to an expression's depth. So the text is held to a profile, and [`Policy::parse`] and
//! [`Policy::decode`] need a thread with [`STACK_BYTES`] of stack; the verdict is then the same
//! everywhere. The rules are compiled as well, and [`Policy::decide_raw`] gives the same decision,
//! much sooner, on nearly every step.
//!
//! Beside its rules a policy may carry a guard, a module that is asked about each step that the
//! rules permit. Nothing here can run it, nor tell whether it is a module.
//!
//! This module does not know how a step is run, or where its facts come from. Cedar is named only
//! in `policy/cedar`.
//!
//! Invariant: a `Policy` is within the profile and strictly valid for its schema; a new one is held
//! to more, by [`Policy::validate`].

mod cedar;
mod derived;
mod explain;
mod fact;
mod form;
pub mod guard;
mod profile;
mod program;
mod shape;

use std::fmt;

use self::cedar::Rules;
use self::derived::Derived;
pub use self::explain::{Explanation, Reading, Rule};
pub use self::guard::Guard;
use self::profile::Scanned;
pub use self::program::Raw;
use self::program::Ruled;
pub(crate) use self::shape::READ;
use self::shape::Shapes;
use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::diagnostic::{Diagnostic, in_text};
use crate::effects::Output;
use crate::error::{ErrorKind, Result};
use crate::hash::{CodeHash, ObjectId, PolicyHash};
use crate::ledger::{Past, Tracked};
use crate::limits::{
    GUARD_BYTES_MAX, POLICY_BYTES_MAX, POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX,
};
use crate::memory::Memory;
use crate::message::{Message, Origin};
use crate::schema::{Most, Schema, Value};

/// Bytes of stack that a thread needs to parse, decide or drop any policy within the profile, with
/// or without optimisation. With less, a verdict may differ, or the process end.
pub const STACK_BYTES: usize = 16 << 20;

/// Versions of the encoding: without a guard, and with one.
const VERSION: u8 = 1;
const GUARDED_VERSION: u8 = 2;

/// The sources of a policy: Cedar text and, optionally, the module of a guard.
///
/// ```
/// use continuant_object::policy::Law;
///
/// let rules = Law::from("permit(principal, action, resource);");
/// let guarded = Law { guard: Some(b"\0asm..."), ..rules };
/// # assert_ne!(rules, guarded);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Law<'a> {
    /// The rules, as Cedar text.
    pub text: &'a str,
    /// The guard's module.
    pub guard: Option<&'a [u8]>,
}

impl<'a> Law<'a> {
    /// The same rules with this guard beside them.
    pub fn guard(self, wasm: &'a [u8]) -> Law<'a> {
        Law { guard: Some(wasm), ..self }
    }

    /// Encodes the policy of these sources, whether or not it is valid, in the language's present
    /// version; `object/FORMAT.md` has the layout.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_in(cedar::language_version())
    }

    fn encode_in(&self, language: (u16, u16)) -> Vec<u8> {
        let room = self.text.len() + self.guard.map_or(0, <[u8]>::len) + 13;
        let mut bytes = Vec::with_capacity(room);
        bytes.put_u8(if self.guard.is_some() { GUARDED_VERSION } else { VERSION });
        bytes.put_u16(language.0).put_u16(language.1).put_blob(self.text.as_bytes());
        if let Some(guard) = self.guard {
            bytes.put_blob(guard);
        }
        bytes
    }
}

impl<'a> From<&'a str> for Law<'a> {
    fn from(text: &'a str) -> Law<'a> {
        Law { text, guard: None }
    }
}

impl<'a> From<&'a String> for Law<'a> {
    fn from(text: &'a String) -> Law<'a> {
        text.as_str().into()
    }
}

/// An object's policy, ready to decide.
pub struct Policy {
    text: String,
    language: (u16, u16),
    hash: PolicyHash,
    tracked: Tracked,
    rules: Rules,
    lints: Vec<Diagnostic>,
    guard: Option<Guard>,
}

/// The facts on which a step, or a read, is decided, beside the states and the arguments.
///
/// Times are in milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The asking principal.
    pub principal: Principal,
    /// The method's name, or `advance` for the object's own cycle, `write` for a direct write,
    /// `amend` for a change of the policy, `open_session`, `upgrade` for a change of the code,
    /// `migrate` for an upgrade's migrated state, or `read`.
    pub action: &'a str,
    /// The field, in a read.
    pub field: Option<&'a str>,
    /// The object concerned.
    pub object: ObjectId,
    /// The keys whose signatures were verified, or that opened the session.
    pub signers: &'a [PublicKey],
    /// The kind of credential: `none`, `signature`, `batch` or `session`.
    pub credential: &'static str,
    /// The origin of the message, if the step answers one.
    pub sender: Option<&'a Origin>,
    /// The outputs, of which rules see the names.
    pub outputs: &'a [Output],
    /// The messages, of which rules see the receivers.
    pub messages: &'a [Message],
    /// The object's next wake, if it has one.
    pub wake: Option<u64>,
    /// The version that the step would make.
    pub seq: u64,
    /// Milliseconds since the object's genesis.
    pub age: u64,
    /// Fuel that the step took.
    pub fuel: u64,
    /// Pages of memory that it changed.
    pub pages: u32,
    /// The step's claimed time.
    pub time: u64,
    /// The ledger's record of the versions before.
    pub past: &'a Past,
    /// The version of the instrumentation that the step ran under.
    pub instrumentation: u32,
    /// The object's code.
    pub code: CodeHash,
    /// The policy that decides on the steps that follow.
    pub policy: PolicyHash,
    /// The new code and policy, in an upgrade.
    pub upgrade: Option<(CodeHash, PolicyHash)>,
}

/// The states and the arguments of a step, as values.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The state before the step, a record of the schema.
    pub before: &'a Value,
    /// The state after it.
    pub after: &'a Value,
    /// The method's arguments by name, in order; none for `advance` and `write`.
    pub input: &'a [(String, Value)],
}

/// The party that asks for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The holder of an Ed25519 key: in Cedar `Key::"<64 lowercase hexadecimal digits>"`.
    Key([u8; 32]),
    /// Nobody in particular: in Cedar `Anonymous::""`, or `principal is Anonymous`.
    Anonymous,
    /// An object, this one or another: in Cedar `Object::"<64 lowercase hexadecimal digits>"`.
    Object(ObjectId),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Key(key) => write!(f, "Key::\"{}\"", PublicKey(*key)),
            Principal::Anonymous => f.write_str("Anonymous::\"\""),
            Principal::Object(id) => write!(f, "Object::\"{id}\""),
        }
    }
}

/// A verdict on a step, with the ids of the rules behind it, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The step is admitted.
    Permit {
        /// Every `permit` that is satisfied.
        rules: Vec<String>,
    },
    /// The step is refused.
    Refuse {
        /// Every `forbid` that is satisfied or, when evaluation failed, every rule that failed.
        rules: Vec<String>,
        /// The cause of the refusal.
        reason: Refusal,
    },
}

/// The causes for which a step is refused.
///
/// A path is that of a value in the context, fields under their names in WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// A rule forbids it.
    Forbidden,
    /// No rule permits it.
    NotPermitted,
    /// Rules could not be evaluated; those that could do not count.
    EvaluationError {
        /// The first of them.
        rule: String,
        /// Cedar's words for its problem. They may change with Cedar's version.
        message: String,
    },
    /// A number that a rule reads is above the greatest `s64`.
    OutOfRange {
        /// The number.
        path: String,
    },
    /// A value that a rule reads is beyond what [`limits`](crate::limits) lets a policy read.
    TooLarge {
        /// The value.
        path: String,
    },
    /// The facts are not of this policy's schema: there is no such action, or a value is of
    /// another type.
    Mismatch {
        /// `action`, or the value.
        path: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Forbidden => f.write_str("a rule forbids it"),
            Refusal::NotPermitted => f.write_str("no rule permits it"),
            Refusal::EvaluationError { rule, message } => {
                write!(f, "rule {rule} could not be evaluated: {message}")
            }
            Refusal::OutOfRange { path } => {
                write!(f, "{path} is above what a policy can count to")
            }
            Refusal::TooLarge { path } => write!(f, "{path} is larger than a policy may read"),
            Refusal::Mismatch { path } => write!(f, "{path} is not of the policy's schema"),
        }
    }
}

impl Policy {
    /// Parses the text of `law` and validates it against the part of `schema` that a policy sees.
    /// Whether its guard is a module is left to the host that runs guards.
    ///
    /// Call it on a thread with [`STACK_BYTES`] of stack.
    ///
    /// # Errors
    ///
    /// `Policy`: all faults in the text, found by the first of these that finds any: the profile,
    /// Cedar's parser, the rules' ids, Cedar's strict validation, and then as of
    /// [`Policy::validate`]. `Decode`, as of [`Guard::new`].
    pub fn parse<'a>(law: impl Into<Law<'a>>, schema: &Schema) -> Result<Policy> {
        let policy = Policy::build(law.into(), cedar::language_version(), schema)?;
        policy.validate()?;
        Ok(policy)
    }

    /// Validates that the policy may come in, as an object's first or its next: each of its rules
    /// can hold; each text that a rule compares with a key, an id, a hash or a word is one; and no
    /// rule that keeps a key out is evaded by a second signature. `object/POLICY.md` lists the
    /// checks.
    ///
    /// A policy on record is never held to this: decisions taken by it stay valid.
    ///
    /// # Errors
    ///
    /// `Policy`: all findings.
    pub fn validate(&self) -> Result<()> {
        match &self.lints[..] {
            [] => Ok(()),
            lints => Err(ErrorKind::Policy(lints.to_vec()).into()),
        }
    }

    fn build(law: Law<'_>, language: (u16, u16), schema: &Schema) -> Result<Policy> {
        let (text, guard) = (law.text, law.guard.map(Guard::new).transpose()?);
        let wrong = |findings| ErrorKind::Policy(in_text(findings, text));
        let scanned = profile::scan(text).map_err(wrong)?;
        let shapes = Shapes::new(schema, &scanned.past, &scanned.named);
        let shapes = shapes.map_err(|finding| ErrorKind::Policy(vec![finding]))?;
        let rules = Rules::parse(text, &scanned.rules, shapes, schema);
        let rules = rules.map_err(wrong)?;
        let lints = in_text(rules.lints().to_vec(), text);
        let hash = PolicyHash::of(&law.encode_in(language));
        let (text, tracked) = (text.to_string(), tracked(scanned));
        Ok(Policy { text, language, hash, tracked, rules, lints, guard })
    }

    /// The hash that the policy of `law` has, whether or not it is valid.
    pub fn hash_of<'a>(law: impl Into<Law<'a>>) -> PolicyHash {
        PolicyHash::of(&law.into().encode())
    }

    /// Returns the sources of the policy, as they were given.
    pub fn law(&self) -> Law<'_> {
        Law { text: &self.text, guard: self.guard.as_ref().map(Guard::wasm) }
    }

    /// The guard that must permit as well, if it carries one.
    pub fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The hash of the encoding.
    pub fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// The encoding; `object/FORMAT.md` has its layout.
    pub fn encode(&self) -> Vec<u8> {
        self.law().encode_in(self.language)
    }

    /// Reads an encoding on record: as [`Policy::parse`] does, but without [`Policy::validate`].
    ///
    /// # Errors
    ///
    /// `Decode`: the bytes are not an encoding, or of a later version of the language.
    /// `Policy`: as of [`Policy::parse`].
    pub fn decode(bytes: &[u8], schema: &Schema) -> Result<Policy> {
        let (law, language) = decode(bytes)?;
        Policy::build(law, language, schema)
    }

    /// Returns the part of the past that the policy of this encoding reads. It scans the text and
    /// needs no schema.
    ///
    /// # Errors
    ///
    /// `Decode`, as of [`Policy::decode`]; `Policy`: the text is outside of the profile.
    pub fn tracked_by(bytes: &[u8]) -> Result<Tracked> {
        let (law, _) = decode(bytes)?;
        let scanned = profile::scan(law.text);
        Ok(tracked(scanned.map_err(|found| ErrorKind::Policy(in_text(found, law.text)))?))
    }

    /// Reads the states before and after a step, as far as the rules on `action` read them: other
    /// fields are `none`, and values longer than rules may read are cut to a length just beyond
    /// that limit.
    pub(crate) fn read_states(
        &self,
        schema: &Schema,
        action: &str,
        (before, after): (&(impl Memory + ?Sized), &(impl Memory + ?Sized)),
        address: u32,
    ) -> Result<(Value, Value)> {
        let most =
            Most { items: POLICY_SET_ITEMS_MAX as u32, text_bytes: POLICY_TEXT_BYTES_MAX as u32 };
        let [first, second] = self.rules.selections(action);
        let before = schema.excerpt(before, address, &first, most)?;
        Ok((before, schema.excerpt(after, address, &second, most)?))
    }

    /// Decides on the step of `facts` and `values` by Cedar itself.
    ///
    /// Call it on a thread with [`STACK_BYTES`] of stack. Its time and memory are bounded by the
    /// limits named `POLICY_*` in [`limits`](crate::limits).
    pub fn decide(&self, facts: &Facts<'_>, values: &Values<'_>) -> Decision {
        self.rules.decide(facts, values)
    }

    /// Takes the same decision by the compiled rules, on states and arguments in place. Returns
    /// none when they cannot decide: the action is [`uncompiled`](Policy::uncompiled), a value is
    /// beyond what a policy may read, or a rule cannot be evaluated. Allocates nothing.
    pub fn decide_raw(&self, facts: &Facts<'_>, raw: &Raw<'_>) -> Option<Ruling<'_>> {
        let ruled = self.rules.program(facts.action)?.run(facts, raw)?;
        Some(Ruling { ids: self.rules.ids(), ruled })
    }

    /// Returns the part of the past that the rules read, and the keys that they name.
    pub fn tracked(&self) -> &Tracked {
        &self.tracked
    }

    /// The ids of all rules, each with whether it is a `permit`, not a `forbid`; sorted.
    pub fn rules(&self) -> impl Iterator<Item = (&str, bool)> {
        self.rules.stated()
    }

    /// The ids of the rules that permit something, sorted.
    pub fn permits(&self) -> impl Iterator<Item = &str> {
        self.rules.stated().filter(|(_, permits)| *permits).map(|(id, _)| id)
    }

    /// Returns the ids of the rules that can never hold, on any step, as far as the rules alone
    /// show; sorted.
    pub fn dead(&self) -> impl Iterator<Item = &str> {
        self.rules.dead()
    }

    /// Returns the actions of which some step may be permitted, in the order of the schema.
    pub fn permitted(&self) -> impl Iterator<Item = &str> {
        self.rules.permitted()
    }

    /// Returns whether some rule may permit an amendment, and none forbids it always.
    pub fn is_amendable(&self) -> bool {
        self.rules.may_permit(shape::AMEND)
    }

    /// Returns whether some rule may permit an upgrade, and none forbids it always.
    pub fn is_upgradable(&self) -> bool {
        self.rules.may_permit(shape::UPGRADE)
    }

    /// Returns whether the policy may ever be changed: by an amendment, or with other code.
    pub fn is_changeable(&self) -> bool {
        self.is_amendable() || self.is_upgradable()
    }

    /// Returns the actions whose rules are not compiled, so that Cedar decides on all their steps,
    /// each with the uncompiled construct. In no order.
    pub fn uncompiled(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.rules.uncompiled()
    }
}

/// A decision of compiled rules.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    ids: &'a [String],
    ruled: Ruled,
}

impl<'a> Ruling<'a> {
    /// Returns whether the step is admitted.
    pub fn permits(&self) -> bool {
        self.ruled.permits
    }

    /// Returns the ids of the rules behind the decision, sorted: those of a [`Decision`].
    pub fn rules(&self) -> impl Iterator<Item = &'a str> {
        let bits = self.ruled.rules;
        let named = self.ids.iter().enumerate();
        let decided = named.filter(move |(index, _)| bits[index / 64] >> (index % 64) & 1 == 1);
        decided.map(|(_, id)| id.as_str())
    }
}

impl From<Ruling<'_>> for Decision {
    fn from(ruling: Ruling<'_>) -> Decision {
        let rules: Vec<String> = ruling.rules().map(str::to_string).collect();
        let reason = match rules.is_empty() {
            true => Refusal::NotPermitted,
            false => Refusal::Forbidden,
        };
        match ruling.permits() {
            true => Decision::Permit { rules },
            false => Decision::Refuse { rules, reason },
        }
    }
}

/// Returns the actions that stand behind `past`, and the keys that are named. An action's name has
/// `-` in WIT where it has `_` in Cedar.
fn tracked(scanned: Scanned) -> Tracked {
    let actions = scanned.past.iter().map(|name| name.replace('_', "-"));
    Tracked::new(actions, scanned.has_windows).naming(scanned.keys)
}

fn decode(bytes: &[u8]) -> Result<(Law<'_>, (u16, u16))> {
    let mut reader = Reader::new("policy", bytes);
    let version = reader.u8()?;
    if version != VERSION && version != GUARDED_VERSION {
        let expected = format!("version {VERSION} or {GUARDED_VERSION}");
        return Err(reader.fail(1, &expected, version));
    }
    let language = (reader.u16()?, reader.u16()?);
    let known = cedar::language_version();
    if language.0 != known.0 || language.1 > known.1 {
        let expected = format!("Cedar {}.0 to {}.{}", known.0, known.0, known.1);
        return Err(reader.fail(4, &expected, format!("{}.{}", language.0, language.1)));
    }
    let text = reader.text(POLICY_BYTES_MAX)?;
    let guard = match version {
        GUARDED_VERSION => Some(reader.blob(GUARD_BYTES_MAX)?),
        _ => None,
    };
    if guard.is_some_and(<[u8]>::is_empty) {
        return Err(reader.fail(4, "a guard of at least a byte", 0));
    }
    reader.end()?;
    Ok((Law { text, guard }, language))
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("hash", &self.hash).field("text", &self.text).finish()
    }
}

/// The Cedar schema that policies of objects with this schema are validated against, as text. A
/// policy need not be held against those parts of the past that it does not name.
///
/// # Errors
///
/// `Policy`: the schema has more for a policy to see than a validator should be asked to hold.
pub fn derived_schema(schema: &Schema) -> Result<String> {
    let methods = schema.methods().iter().map(|method| method.name.as_str());
    let own = shape::OWN_ACTIONS.into_iter().chain([shape::UPGRADE]);
    let past = methods.chain(own).map(shape::attribute_name).collect();
    let shapes = Shapes::new(schema, &past, &shape::IF_NAMED);
    let shapes = shapes.map_err(|finding| ErrorKind::Policy(vec![finding]))?;
    Ok(Derived::whole(&shapes).print())
}
