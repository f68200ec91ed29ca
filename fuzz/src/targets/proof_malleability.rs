//! Malleability: credentials, proofs of ancestry, hashed encodings and signed bytes verify by their
//! own bytes and no others.
//!
//! A holder of a secret key can sign the same again in other bytes, and any verifier must accept
//! both; nobody else can make a second signature from one, and none is valid for two things.

mod ancestry;
mod signature;

use object::ErrorKind;
use object::commit::Commit;
use object::credential::{Credential, Proof, SessionKey};
use object::hash::{ObjectId, Salt, VersionHash};
use object::header::{HEADER_BYTES, Header};
use object::input::{Input, Request};
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::{bytes, header, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let mut rng = source(seed);
    let (what, tried) = match rng.random_range(0..4) {
        0 => ("signatures", signature::run(&mut rng)?),
        1 => ("proofs of ancestry", ancestry::run(&mut rng)?),
        2 => ("signed bytes", signed_bytes(&mut rng)?),
        _ => ("encodings", encodings(&mut rng)?),
    };
    tally.add(what, tried);
    Ok(())
}

/// Different requests, and the same to other objects or with other claims, are signed as different
/// bytes, and have different codes in a session.
fn signed_bytes(rng: &mut StdRng) -> Result<u64, String> {
    /// All that a signature is over.
    #[derive(Clone, PartialEq, Debug)]
    struct Signed {
        object: ObjectId,
        request: Request,
        nonce: u64,
        expires: u64,
        parent: Option<VersionHash>,
    }
    let encode = |it: &Signed| {
        it.request.signed_bytes(it.object, it.nonce, Time::from_millis(it.expires), it.parent)
    };
    let code = |key: &SessionKey, it: &Signed| {
        let Signed { nonce, expires, parent, .. } = *it;
        let claims = Credential { parent, ..Credential::new(nonce, Time::from_millis(expires)) };
        key.mac(&claims, it.object, &it.request)
    };
    let (key, stranger) =
        (SessionKey::from_secret(&rng.random()), SessionKey::from_secret(&rng.random()));
    let mut input = header::input(rng);
    let nonce = bytes::number(rng);
    let one = Signed {
        object: ObjectId(rng.random()),
        request: input.request,
        nonce,
        expires: bytes::number(rng),
        parent: rng.random_bool(0.5).then(|| VersionHash(rng.random())),
    };
    for _ in 0..16 {
        let mut other = one.clone();
        for _ in 0..rng.random_range(1..3) {
            match rng.random_range(0..6) {
                0 => other.object.0[rng.random_range(0..32)] ^= 1,
                1 => other.nonce = bytes::number(rng),
                2 => std::mem::swap(&mut other.nonce, &mut other.expires),
                3 => other.parent = rng.random_bool(0.5).then(|| VersionHash(rng.random())),
                4 => other.parent = Some(VersionHash(other.object.0)),
                _ => {
                    input = header::input(rng);
                    other.request = near(rng, &other.request).unwrap_or(input.request);
                }
            }
        }
        let same = encode(&one) == encode(&other);
        equal(&format!("that {one:?} and {other:?} are signed the same"), &(one == other), &same)?;
        let same = code(&key, &one) == code(&key, &other);
        equal(&format!("that {one:?} and {other:?} have one code"), &(one == other), &same)?;
        hold("two secrets have two codes", code(&stranger, &one) != code(&key, &one))?;
    }
    Ok(16)
}

/// Returns a nearly equal request: bytes moved over a boundary to the neighbouring part.
fn near(rng: &mut StdRng, request: &Request) -> Option<Request> {
    let mut request = request.clone();
    match &mut request {
        Request::Create { salt, arguments } => {
            arguments.extend_from_slice(&salt[..1]);
            salt.rotate_left(1);
        }
        Request::Call { method, arguments } if rng.random_bool(0.5) => {
            arguments.insert(0, method.pop()? as u8);
        }
        Request::Call { method, arguments } => {
            let first = *arguments.first().filter(|byte| byte.is_ascii())?;
            method.push(char::from(first));
            arguments.remove(0);
        }
        Request::Write { fields } => {
            let (path, value) = fields.last_mut()?;
            value.insert(0, path.pop()? as u8);
        }
        Request::OpenSession { session, expires } => {
            let first = session.0[31];
            session.0.rotate_right(1);
            *expires = Time::from_millis(expires.as_millis() << 8 | u64::from(first));
        }
        Request::Message { origin, .. } => origin.sender.0.swap_with_slice(&mut origin.version.0),
        Request::Upgrade { code, policy } => code.0.swap_with_slice(&mut policy.0),
        Request::Cycle | Request::Delete | Request::Amend { .. } | Request::Fork { .. } => {
            return None;
        }
    }
    Some(request)
}

/// Bytes that decode are of one value only, and have a hash of their own.
fn encodings(rng: &mut StdRng) -> Result<u64, String> {
    let made = header::header(rng);
    let (one, input) = (made.encode().to_vec(), header::input(rng));
    for _ in 0..8 {
        let mut other = one.clone();
        bytes::change(rng, &mut other);
        let Ok(decoded) = Header::decode(&other) else { continue };
        equal("that headers of other bytes are the same", &(one == other), &(made == decoded))?;
        equal("that their hashes are", &(one == other), &(made.hash() == decoded.hash()))?;
        hold("a header has its length", other.len() == HEADER_BYTES)?;
    }
    let (one, salt) = (input.encode(), Salt(rng.random()));
    for _ in 0..8 {
        let mut other = one.clone();
        bytes::change(rng, &mut other);
        let Ok(decoded) = Input::decode(&other) else { continue };
        equal("that inputs of other bytes are the same", &(one == other), &(input == decoded))?;
        let hash = |input: &Input| input.hash(salt);
        equal("that their hashes are", &(one == other), &(hash(&input) == hash(&decoded)))?;
    }
    algorithms(rng, &input)?;
    commits(rng, &made, &input)?;
    Ok(17)
}

/// Requires that a credential of an algorithm that is not known is refused as such, wherever the
/// algorithm stands.
fn algorithms(rng: &mut StdRng, input: &Input) -> Outcome {
    let Some(credential) = &input.credential else { return Ok(()) };
    let mut bytes = input.encode();
    let made = match &credential.proof {
        Proof::Session { .. } => 32,
        Proof::Signatures(made) | Proof::Batch(_, made) if made.is_empty() => return Ok(()),
        Proof::Signatures(made) | Proof::Batch(_, made) => {
            97 * rng.random_range(1..=made.len()) - 1
        }
    };
    let at = bytes.len() - made - 1;
    let known = bytes[at];
    bytes[at] = rng.random();
    if bytes[at] == known {
        return Ok(());
    }
    if rng.random_bool(0.5) {
        // Keys of other algorithms have other lengths.
        bytes.truncate(at + 1 + rng.random_range(4..=made));
    }
    let expected =
        ErrorKind::UnknownAlgorithm { what: "input", offset: at as u64, known, code: bytes[at] };
    let found = Input::decode(&bytes).map_err(|error| error.kind().clone());
    equal("what becomes of an unknown algorithm", &Err(expected), &found)
}

/// Requires that a commit with other bytes decodes to another commit, or not at all.
fn commits(rng: &mut StdRng, made: &Header, input: &Input) -> Outcome {
    let (input, effects) = (input.encode(), header::effects(rng).encode());
    let admission = header::admission(rng).encode();
    let header = Header { page_count: 0, memory_bytes: 0, ..made.clone() };
    let commit = Commit {
        header,
        input: &input,
        effects: &effects,
        admission: &admission,
        globals: None,
        pages: Vec::new(),
    };
    let mut one = Vec::new();
    commit.encode_into(&mut one);
    for _ in 0..8 {
        let mut other = one.clone();
        bytes::change(rng, &mut other);
        let Ok(decoded) = Commit::decode(&other) else { continue };
        equal("that commits of other bytes are the same", &(one == other), &(commit == decoded))?;
    }
    let credential = Input::decode(&input).map(|input| input.credential);
    let credential: Option<Credential> = must("decoding an input", credential)?;
    hold("a credential decodes", credential.is_none_or(|it| it.signatures().len() < 5))
}
