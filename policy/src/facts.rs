//! The facts about a step, on which its policy decides.
//!
//! This module does not know how the facts came about, nor the decision.

use std::fmt;

use object::credential::PublicKey;
use object::effects::Output;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::ledger::Past;
use object::message::{Message, Origin};
use object::time::Time;
use schema::Value;

/// The facts on which a step, or a read, is decided, beside the states and the arguments.
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
    pub wake: Option<Time>,
    /// The version that the step would make.
    pub seq: u64,
    /// Milliseconds since the object's genesis.
    pub age_ms: u64,
    /// Fuel that the step took.
    pub fuel: u64,
    /// Pages of memory that it changed.
    pub pages: u32,
    /// The step's claimed time.
    pub time: Time,
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
