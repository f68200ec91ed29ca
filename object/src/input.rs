//! Inputs: requests for a new version, with their time and the credentials of the asking party.
//!
//! Invariant: `Input::decode` accepts exactly the bytes that `encode` writes.

use crate::codec::{Reader, Write};
use crate::credential::{BLAKE3, Credential, ED25519, Place, Proof, Signature};
use crate::error::{ErrorKind, Result};
use crate::hash::{InputHash, Salt, SessionId, VersionHash};
use crate::limits::{
    NAME_BYTES_MAX, PATH_BYTES_MAX, PAYLOAD_BYTES_MAX, POLICY_ENCODED_MAX, SIGNATURES_MAX,
    WRITES_MAX,
};
pub use crate::request::{IMAGE_SALT_BYTES, Request};
use crate::time::Time;

const INPUT_VERSION: u8 = 2;
/// Tags of credentials; 0 says that there is none.
const SIGNED: u8 = 1;
const BATCHED: u8 = 2;
const IN_SESSION: u8 = 3;
/// Bytes of a signature with its algorithm and its key.
const SIGNATURE_BYTES: usize = 1 + 32 + 64;

/// A request for a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The request.
    pub request: Request,
    /// The time at which the host took the input.
    pub time: Time,
    /// The credential of the asking party, when the input is signed.
    pub credential: Option<Credential>,
}

impl Input {
    /// Validates that the input survives its encoding: it is within its limits, and a header in it
    /// is one of a version. Only then does [`Input::decode`] return an equal input, and only then
    /// may it be decided on and put on record.
    ///
    /// # Errors
    ///
    /// [`Limit`](ErrorKind::Limit) naming the first exceeded limit, and
    /// [`Decode`](ErrorKind::Decode) naming the fault of a header.
    pub fn validate(&self) -> Result<()> {
        match &self.request {
            Request::Call { method, .. } => {
                limit("bytes of a method's name", method.len(), NAME_BYTES_MAX)?;
            }
            Request::Message { origin, method, .. } => {
                limit("bytes of a method's name", method.len(), NAME_BYTES_MAX)?;
                origin.validate()?;
            }
            Request::Fork { of } => of.validate()?,
            Request::Create { .. }
            | Request::Cycle
            | Request::OpenSession { .. }
            | Request::Upgrade { .. }
            | Request::Delete => {}
            Request::Write { fields } => {
                limit("fields of a write", fields.len(), WRITES_MAX)?;
                for (path, _) in fields {
                    limit("bytes of a path", path.len(), PATH_BYTES_MAX)?;
                }
            }
            Request::Amend { policy } => limit("policy bytes", policy.len(), POLICY_ENCODED_MAX)?,
        }
        limit("payload bytes", self.request.payload_bytes(), PAYLOAD_BYTES_MAX)?;
        let signatures = self.credential.as_ref().map_or(0, |it| it.signatures().len());
        limit("signatures", signatures, SIGNATURES_MAX)
    }

    /// Returns the input's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.put_u8(INPUT_VERSION).put_time(self.time);
        self.request.encode_into(&mut bytes);
        match &self.credential {
            None => {
                bytes.put_u8(0);
            }
            Some(credential) => encode_credential(credential, &mut bytes),
        }
        bytes
    }

    /// Reads an input from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](ErrorKind::Decode) for any bytes that [`Input::encode`] does not write, and
    /// [`UnknownAlgorithm`](ErrorKind::UnknownAlgorithm) for a credential that a newer program may
    /// read.
    pub fn decode(bytes: &[u8]) -> Result<Input> {
        let mut reader = Reader::new("input", bytes);
        reader.version(INPUT_VERSION)?;
        let time = reader.time()?;
        let request = Request::decode_from(&mut reader)?;
        let credential = match reader.u8()? {
            0 => None,
            tag @ SIGNED..=IN_SESSION => Some(decode_credential(&mut reader, tag)?),
            other => return Err(reader.fail(1, "0 to 3", other)),
        };
        reader.end()?;
        Ok(Input { request, time, credential })
    }

    /// Returns the salted hash of the input's bytes.
    pub fn hash(&self, salt: Salt) -> InputHash {
        InputHash::of(salt, &self.encode())
    }
}

fn limit(what: &'static str, found: usize, max: usize) -> Result<()> {
    let (max, found) = (max as u64, found as u64);
    if found > max { Err(ErrorKind::Limit { what, max, found }.into()) } else { Ok(()) }
}

fn encode_credential(credential: &Credential, bytes: &mut Vec<u8>) {
    bytes.put_u8(match &credential.proof {
        Proof::Signatures(_) => SIGNED,
        Proof::Batch(..) => BATCHED,
        Proof::Session { .. } => IN_SESSION,
    });
    bytes.put_u64(credential.nonce).put_time(credential.expires);
    bytes.put_option(credential.parent.map(|parent| parent.0));
    match &credential.proof {
        Proof::Signatures(_) => {}
        Proof::Batch(place, _) => place.encode_into(bytes),
        Proof::Session { session, mac } => {
            bytes.put(&session.0).put_u8(BLAKE3).put(mac);
            return;
        }
    }
    bytes.put_count(credential.signatures().len());
    for signature in credential.signatures() {
        bytes.put_u8(ED25519).put(&signature.key).put(&signature.bytes);
    }
}

fn decode_credential(reader: &mut Reader<'_>, tag: u8) -> Result<Credential> {
    let (nonce, expires) = (reader.u64()?, reader.time()?);
    let parent = reader.option()?.map(VersionHash);
    let proof = match tag {
        IN_SESSION => {
            let session = SessionId(reader.array()?);
            reader.algorithm(BLAKE3)?;
            Proof::Session { session, mac: reader.array()? }
        }
        BATCHED => Proof::Batch(Place::decode_from(reader)?, decode_signatures(reader)?),
        _ => Proof::Signatures(decode_signatures(reader)?),
    };
    Ok(Credential { nonce, expires, parent, proof })
}

fn decode_signatures(reader: &mut Reader<'_>) -> Result<Vec<Signature>> {
    // An algorithm that is not known here may have shorter keys.
    let count = reader.count(SIGNATURES_MAX, 1)?;
    let mut signatures = Vec::with_capacity(count.min(reader.left() / SIGNATURE_BYTES));
    for _ in 0..count {
        reader.algorithm(ED25519)?;
        signatures.push(Signature { key: reader.array()?, bytes: reader.array()? });
    }
    Ok(signatures)
}
