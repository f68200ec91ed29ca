//! The cost of credentials: of an input that is signed by itself, of one of a batch, and of one in
//! a session.
//!
//! A signature is measured by itself, as the commit path calls it, and beside the curve's own
//! arithmetic; an input of a batch with all checks that come before a step.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use continuant::object::authentication::authenticate;
use continuant::object::credential::{Batch, Credential, Host, Memo, SessionKey};
use continuant::object::head::Head;
use continuant::object::input::{Input, Request};
use continuant::object::ledger::Tracked;
use continuant::object::secret::Secret;
use continuant::{Code, ObjectId, Options, SigningKey, Time};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::counter;
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::sizes::Sizes;
use crate::timing::nanoseconds_each;

pub(crate) const VERIFY: &str = "credential.verify";
pub(crate) const BATCH: &str = "credential.batch";
pub(crate) const SESSION: &str = "credential.session";

/// Inputs that are signed together.
const BATCH_INPUTS: usize = 64;
/// The validity of signatures, in milliseconds.
const EXPIRY_MS: u64 = 60_000;

/// The number of field reads for each signature: one takes about this many times as long.
const RATIO: usize = 1_000;

/// The credential of an input with one signature, verified.
pub(crate) fn verify(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let (object, key) = (ObjectId([7; 32]), SigningKey::from_secret(&[1; 32]));
    let request = Request::Call { method: "increment".to_string(), arguments: vec![1; 8] };
    let (mut credential, memo) = (Credential::new(1, Time::from_millis(1_000)), Memo::default());
    credential.sign(&key, object, &request);
    let bytes = request.signed_bytes(object, credential.nonce, credential.expires, None);
    let signed = credential.signatures().first().context("it was signed")?;
    let (public, signature) =
        (VerifyingKey::from_bytes(&signed.key)?, Signature::from_bytes(&signed.bytes));
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let count = (sizes.reads / RATIO).max(3);
    for _ in 0..rounds {
        let verify = || Ok(black_box(&credential).verify(object, black_box(&request), &memo)?);
        ours.push(nanoseconds_each(count, verify)? / 1e3);
        let alone = || Ok(black_box(&public).verify_strict(black_box(&bytes), &signature)?);
        floor.push(nanoseconds_each(count, alone)? / 1e3);
    }
    let about = "one signature over a call: the signed bytes made, the key decoded, all verified";
    let about_floor =
        "verify_strict alone: the same bytes, made before, and the key, decoded before";
    let vs = vec![Peer { name: "floor.verify_strict", about: about_floor, samples: floor }];
    Ok(vec![Figure::new(VERIFY, about, Unit::MICROSECONDS, ours, vs)])
}

/// Inputs to one counter that are signed together, beside one that is signed alone.
pub(crate) fn batch(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let head = head()?;
    let key = SigningKey::from_secret(&[1; 32]);
    let (alone, together) = (alone(&head, &key), together(&head, &key)?);
    let count = (sizes.reads / RATIO).max(1);
    let (mut by_itself, mut batch) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let one = || admitted(&head, &alone, &Memo::default());
        by_itself.push(nanoseconds_each(count, one)? / 1000.0);
        // Verifies the signature anew for each batch.
        let all = || {
            let memo = Memo::default();
            together.iter().try_for_each(|input| admitted(&head, input, &memo))
        };
        let batches = count.div_ceil(8);
        batch.push(nanoseconds_each(batches, all)? / 1000.0 / BATCH_INPUTS as f64);
    }
    let about_alone = "an input signed by itself: signature, expiry, nonce";
    let about = "one of 64 inputs under one signature, and its part of verifying that";
    let vs = vec![Peer { name: "credential.alone", about: about_alone, samples: by_itself }];
    Ok(vec![Figure::new(BATCH, about, Unit::MICROSECONDS, batch, vs)])
}

/// An input to a counter in a session, beside its code alone.
pub(crate) fn session(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let (head, session) = opened()?;
    let (request, time) = (request(1), head.header.time);
    let mut credential = Credential::new(1, time.saturating_add(Duration::from_millis(EXPIRY_MS)));
    credential.put_in_session(&session, head.id, &request);
    let input = Input { request: request.clone(), time, credential: Some(credential.clone()) };
    let memo = Memo::default();
    let host = Host::holding(&memo, Some(&session));
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    let count = (sizes.reads / 10).max(3);
    for _ in 0..rounds {
        let one = || {
            let signers = authenticate(black_box(&head), Tracked::NONE, black_box(&input), host);
            ensure!(signers.ok().context("it is in the session")?.len() == 1, "one key opened it");
            Ok(())
        };
        ours.push(nanoseconds_each(count, one)? / 1e3);
        let alone = || Ok(black_box(session.mac(black_box(&credential), head.id, &request)));
        floor.push(nanoseconds_each(count, alone)? / 1e3);
    }
    let about = "an input in a session: its code, the session, expiry, nonce";
    let about_floor = "the code alone: the bytes that it is over made, and hashed";
    let vs = vec![Peer { name: "floor.code", about: about_floor, samples: floor }];
    Ok(vec![Figure::new(SESSION, about, Unit::MICROSECONDS, ours, vs)])
}

/// Returns a counter's head whose ledger has a session, and the session.
fn opened() -> Result<(Head, SessionKey)> {
    let (mut head, key) = (head()?, SigningKey::from_secret(&[1; 32]));
    let session = SessionKey::from_secret(&[2; 32]);
    let (time, expires) =
        (head.header.time, head.header.time.saturating_add(Duration::from_millis(2 * EXPIRY_MS)));
    let request = Request::OpenSession { session: session.id(), expires };
    let mut credential = Credential::new(1, expires);
    credential.sign(&key, head.id, &request);
    let input = Input { request, time, credential: Some(credential) };
    let signers =
        authenticate(&head, Tracked::NONE, &input, Host::holding(&Memo::default(), None)).ok();
    let signers = signers.context("the session may be opened")?;
    head.ledger = head.ledger.next(Tracked::NONE, 1, &input, &signers);
    Ok((head, session))
}

fn admitted(head: &Head, input: &Input, memo: &Memo) -> Result<()> {
    let signers = authenticate(head, Tracked::NONE, input, Host::holding(memo, None))
        .ok()
        .context("it is signed well")?;
    ensure!(signers.len() == 1, "one key signed it");
    Ok(())
}

/// A counter's first version.
fn head() -> Result<Head> {
    let directory = tempfile::tempdir()?;
    let db = Options::new().workers(1).open(directory.path().join("db"))?;
    let id = db.create(Code::wasm(counter::WASM)?.policy(counter::POLICY))?;
    Ok(Head::new(db.at(id, 0)?.header().clone(), Secret::new([0; 32])))
}

fn request(by: u64) -> Request {
    Request::Call { method: "increment".to_string(), arguments: by.to_le_bytes().to_vec() }
}

fn alone(head: &Head, key: &SigningKey) -> Input {
    let (request, time) = (request(1), head.header.time);
    let mut credential = Credential::new(1, time.saturating_add(Duration::from_millis(EXPIRY_MS)));
    credential.sign(key, head.id, &request);
    Input { request, time, credential: Some(credential) }
}

fn together(head: &Head, key: &SigningKey) -> Result<Vec<Input>> {
    let time = head.header.time;
    let requests: Vec<Request> = (0..BATCH_INPUTS as u64).map(request).collect();
    let mut batch = Batch::new();
    for (nonce, request) in (1..).zip(&requests) {
        batch.push(
            head.id,
            request,
            Credential::new(nonce, time.saturating_add(Duration::from_millis(EXPIRY_MS))),
        );
    }
    let signed = requests.into_iter().zip(batch.sign(&[key])?);
    let input = |(request, credential)| Input { request, time, credential: Some(credential) };
    Ok(signed.map(input).collect())
}
