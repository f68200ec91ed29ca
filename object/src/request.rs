//! Requests: what a new version is asked for by (a creation, a call, the object's own cycle, a
//! direct write, a change of the policy or of the code, a session, a message of another object, a
//! deletion).
//!
//! This module does not know types: arguments are payload bytes that the schema decodes. It does
//! not know credentials either: it writes the bytes that they sign.

use crate::codec::{Length, Reader, Write};
use crate::error::Result;
use crate::hash::{CodeHash, ObjectId, PolicyHash, SessionId, VersionHash};
use crate::header::{HEADER_BYTES, Header, Kind};
use crate::limits::{
    FUEL_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PAYLOAD_BYTES_MAX, POLICY_ENCODED_MAX, WRITES_MAX,
};
use crate::message::Origin;
use crate::time::Time;

/// Bytes of the salt of a memory.
pub const IMAGE_SALT_BYTES: usize = 32;

/// The payload type that signatures are bound to.
const SIGNED_TYPE: &str = "application/vnd.continuant.input.v2";

/// The claims that a signature covers beside the request.
#[derive(Clone, Copy)]
pub(crate) struct Claims {
    pub(crate) object: ObjectId,
    pub(crate) nonce: u64,
    pub(crate) expires: Time,
    pub(crate) parent: Option<VersionHash>,
}

/// The kinds of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Creates the object.
    Create {
        /// The salt of the memory, for code that has a place for it.
        salt: [u8; IMAGE_SALT_BYTES],
        /// The arguments of the method `create`; empty when the object has none.
        arguments: Vec<u8>,
    },
    /// Runs a method.
    Call {
        /// The method's name in the schema.
        method: String,
        /// The method's arguments, encoded by the schema.
        arguments: Vec<u8>,
    },
    /// Runs the object's own cycle.
    Cycle,
    /// Sets state fields to these values.
    Write {
        /// The paths and their new values, encoded by the schema, in the order of writing.
        fields: Vec<(String, Vec<u8>)>,
    },
    /// Replaces the policy; the new one decides on later requests.
    Amend {
        /// The policy's encoding.
        policy: Vec<u8>,
    },
    /// Opens a session: the holder of a secret may then act in the name of the signers.
    OpenSession {
        /// The session's id, the public name of the secret.
        session: SessionId,
        /// The last moment of the session.
        expires: Time,
    },
    /// Creates an object as a copy of another object's version.
    Fork {
        /// The header of the copied version.
        of: Box<Header>,
    },
    /// Runs a method because another object sent a message.
    Message {
        /// The message's place in the sender's lineage.
        origin: Box<Origin>,
        /// The method's name.
        method: String,
        /// The method's arguments, in the sender's own encoding.
        arguments: Vec<u8>,
    },
    /// Replaces the object's code, which makes its own state from the old one, and its policy. The
    /// request names neither: the deciding party already has both.
    Upgrade {
        /// The module.
        code: CodeHash,
        /// The new policy.
        policy: PolicyHash,
    },
    /// Deletes the object: the version is its last, and the state stays as it was.
    Delete,
}

impl Request {
    /// The kind of version that the request makes.
    pub fn kind(&self) -> Kind {
        match self {
            Request::Create { .. } => Kind::Create,
            Request::Call { .. } => Kind::Call,
            Request::Cycle => Kind::Cycle,
            Request::Write { .. } => Kind::Write,
            Request::Amend { .. } => Kind::Amend,
            Request::OpenSession { .. } => Kind::OpenSession,
            Request::Message { .. } => Kind::Message,
            Request::Fork { .. } => Kind::Fork,
            Request::Upgrade { .. } => Kind::Upgrade,
            Request::Delete => Kind::Delete,
        }
    }

    /// The policy's name for the request: the method, `advance`, `write`, `amend`, `open_session`,
    /// `upgrade`, `delete` or `create`.
    pub fn action(&self) -> &str {
        match self {
            Request::Call { method, .. } | Request::Message { method, .. } => method,
            other => other.kind().name(),
        }
    }

    /// Returns whether the request runs code: the object's own or, in an upgrade, its new code.
    pub fn runs_code(&self) -> bool {
        use Request::*;
        matches!(self, Create { .. } | Call { .. } | Cycle | Message { .. } | Upgrade { .. })
    }

    /// The method that is to run, and its encoded arguments, of a call or a message.
    pub fn called(&self) -> Option<(&str, &[u8])> {
        match self {
            Request::Call { method, arguments } | Request::Message { method, arguments, .. } => {
                Some((method, arguments))
            }
            _ => None,
        }
    }

    /// Returns whether the request makes an object's first version, and no other.
    pub fn is_genesis(&self) -> bool {
        self.kind().is_genesis()
    }

    /// Returns the origin, if the request is a message.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Request::Message { origin, .. } => Some(origin),
            _ => None,
        }
    }

    /// Bytes of the arguments, or of all values of a direct write.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Request::Create { arguments, .. }
            | Request::Call { arguments, .. }
            | Request::Message { arguments, .. } => arguments.len(),
            Request::Write { fields } => fields.iter().map(|(_, value)| value.len()).sum(),
            Request::Cycle
            | Request::Amend { .. }
            | Request::OpenSession { .. }
            | Request::Fork { .. }
            | Request::Upgrade { .. }
            | Request::Delete => 0,
        }
    }

    /// The most fuel that the step may use.
    pub fn fuel_max(&self) -> u64 {
        self.origin().map_or(FUEL_MAX, |origin| origin.fuel)
    }

    /// Returns the bytes that signatures over this request cover: DSSE's pre-authentication
    /// encoding of the object, the request, and the credential's nonce, expiry and parent.
    pub fn signed_bytes(
        &self,
        object: ObjectId,
        nonce: u64,
        expires: Time,
        parent: Option<VersionHash>,
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        self.put_signed(&mut bytes, SIGNED_TYPE, Claims { object, nonce, expires, parent });
        bytes
    }

    /// Appends the bytes to sign, as a payload of the type `ty`.
    pub(crate) fn put_signed(&self, to: &mut impl Write, ty: &str, claims: Claims) {
        let mut length = Length::default();
        self.put_signed_body(&mut length, claims);
        put_dsse(to, ty, length.0);
        self.put_signed_body(to, claims);
    }

    /// Appends the bytes to sign, without their type.
    pub(crate) fn put_signed_body(&self, to: &mut impl Write, claims: Claims) {
        let Claims { object, nonce, expires, parent } = claims;
        to.put(&object.0).put_u64(nonce).put_time(expires);
        to.put_option(parent.map(|parent| parent.0));
        self.encode_into(to);
    }

    pub(crate) fn encode_into(&self, bytes: &mut impl Write) {
        bytes.put_u8(self.kind().code());
        match self {
            Request::Create { salt, arguments } => {
                bytes.put(salt).put_blob(arguments);
            }
            Request::Call { method, arguments } => {
                bytes.put_blob(method.as_bytes()).put_blob(arguments);
            }
            Request::Cycle | Request::Delete => {}
            Request::Write { fields } => {
                bytes.put_count(fields.len());
                for (path, value) in fields {
                    bytes.put_blob(path.as_bytes()).put_blob(value);
                }
            }
            Request::Amend { policy } => {
                bytes.put_blob(policy);
            }
            Request::OpenSession { session, expires } => {
                bytes.put(&session.0).put_time(*expires);
            }
            Request::Fork { of } => {
                bytes.put(&of.encode());
            }
            Request::Message { origin, method, arguments } => {
                origin.encode_into(bytes);
                bytes.put_blob(method.as_bytes()).put_blob(arguments);
            }
            Request::Upgrade { code, policy } => {
                bytes.put(&code.0).put(&policy.0);
            }
        }
    }

    pub(crate) fn decode_from(reader: &mut Reader<'_>) -> Result<Request> {
        let code = reader.u8()?;
        Ok(match Kind::from_code(code) {
            Some(Kind::Create) => Request::Create {
                salt: reader.array()?,
                arguments: reader.blob(PAYLOAD_BYTES_MAX)?.to_vec(),
            },
            Some(Kind::Call) => Request::Call {
                method: reader.text(NAME_BYTES_MAX)?.to_string(),
                arguments: reader.blob(PAYLOAD_BYTES_MAX)?.to_vec(),
            },
            Some(Kind::Cycle) => Request::Cycle,
            Some(Kind::Write) => {
                let count = reader.count(WRITES_MAX, 2)?;
                let mut fields = Vec::with_capacity(count);
                let mut left = PAYLOAD_BYTES_MAX;
                for _ in 0..count {
                    let path = reader.text(PATH_BYTES_MAX)?.to_string();
                    let value = reader.blob(left)?.to_vec();
                    left -= value.len();
                    fields.push((path, value));
                }
                Request::Write { fields }
            }
            Some(Kind::Amend) => {
                Request::Amend { policy: reader.blob(POLICY_ENCODED_MAX)?.to_vec() }
            }
            Some(Kind::OpenSession) => Request::OpenSession {
                session: SessionId(reader.array()?),
                expires: reader.time()?,
            },
            Some(Kind::Message) => Request::Message {
                origin: Box::new(Origin::decode_from(reader)?),
                method: reader.text(NAME_BYTES_MAX)?.to_string(),
                arguments: reader.blob(PAYLOAD_BYTES_MAX)?.to_vec(),
            },
            Some(Kind::Fork) => {
                Request::Fork { of: Box::new(Header::decode(reader.bytes(HEADER_BYTES)?)?) }
            }
            Some(Kind::Upgrade) => Request::Upgrade {
                code: CodeHash(reader.array()?),
                policy: PolicyHash(reader.array()?),
            },
            Some(Kind::Delete) => Request::Delete,
            None => return Err(reader.fail(1, "a kind of request below 10", code)),
        })
    }
}

/// Appends DSSE's pre-authentication encoding, version 1, of a type and a body of `body_bytes`
/// bytes, up to the body.
pub(crate) fn put_dsse(to: &mut impl Write, ty: &str, body_bytes: usize) {
    to.put(b"DSSEv1 ");
    put_decimal(to, ty.len());
    to.put(b" ").put(ty.as_bytes()).put(b" ");
    put_decimal(to, body_bytes);
    to.put(b" ");
}

fn put_decimal(to: &mut impl Write, number: usize) {
    let mut digits = [b'0'; 20];
    let (mut start, mut rest) = (digits.len(), number);
    while rest > 0 || start == digits.len() {
        start -= 1;
        digits[start] += (rest % 10) as u8;
        rest /= 10;
    }
    to.put(&digits[start..]);
}
