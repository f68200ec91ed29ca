//! What it costs to know who asks: of an input that is signed by itself, and of one of a batch.
//!
//! All is measured that comes before a step: the signatures, the expiry, the nonce.

use anyhow::{Context, Result};
use continuant::SigningKey;
use continuant::object::admission::authenticate;
use continuant::object::credential::{Batch, Credential, Memo};
use continuant::object::head::Head;
use continuant::object::input::{Input, Request};
use continuant::{Code, Options};

use crate::counter;
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::sizes::Sizes;
use crate::timing::nanoseconds_each;

pub(crate) const VERIFY: &str = "credential.verify";
pub(crate) const BATCH: &str = "credential.batch";

/// Inputs that are signed together.
const BATCH_INPUTS: usize = 64;
/// How long signatures hold, in milliseconds.
const EXPIRY_MS: u64 = 60_000;

/// Signed inputs to one counter.
pub(crate) fn credentials(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let head = head()?;
    let key = SigningKey::from_secret(&[1; 32]);
    let (alone, together) = (alone(&head, &key), together(&head, &key)?);
    let count = (sizes.reads / 1000).max(1);
    let (mut verify, mut batch) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let one = || admitted(&head, &alone, &Memo::default());
        verify.push(nanoseconds_each(count, one)? / 1000.0);
        // Whose signature is verified anew for each batch.
        let all = || {
            let memo = Memo::default();
            together.iter().try_for_each(|input| admitted(&head, input, &memo))
        };
        let batches = count.div_ceil(8);
        batch.push(nanoseconds_each(batches, all)? / 1000.0 / BATCH_INPUTS as f64);
    }
    let about = "an input signed by one key: signature, expiry, nonce";
    let about_batch = "one of 64 inputs under one signature, and its part of verifying that";
    let vs = vec![Peer { name: VERIFY, about, samples: verify.clone() }];
    Ok(vec![
        Figure::new(VERIFY, about, Unit::MICROSECONDS, verify, Vec::new()),
        Figure::new(BATCH, about_batch, Unit::MICROSECONDS, batch, vs),
    ])
}

fn admitted(head: &Head, input: &Input, memo: &Memo) -> Result<()> {
    let signers = authenticate(head, input, memo).ok().context("it is signed well")?;
    anyhow::ensure!(signers.len() == 1, "one key signed it");
    Ok(())
}

/// A counter's first version.
fn head() -> Result<Head> {
    let directory = tempfile::tempdir()?;
    let db = Options::new().workers(1).open(directory.path().join("db"))?;
    let id = db.create(Code::wasm(counter::WASM)?.policy(counter::POLICY))?;
    Ok(Head::new(db.at(id, 0)?.header().clone()))
}

fn request(by: u64) -> Request {
    Request::Call { method: "increment".to_string(), arguments: by.to_le_bytes().to_vec() }
}

fn alone(head: &Head, key: &SigningKey) -> Input {
    let (request, time) = (request(1), head.header.time);
    let mut credential = Credential::new(1, time + EXPIRY_MS);
    credential.sign(key, head.id, &request);
    Input { request, time, credential: Some(credential) }
}

fn together(head: &Head, key: &SigningKey) -> Result<Vec<Input>> {
    let time = head.header.time;
    let requests: Vec<Request> = (0..BATCH_INPUTS as u64).map(request).collect();
    let mut batch = Batch::new();
    for (nonce, request) in (1..).zip(&requests) {
        batch.push(head.id, request, Credential::new(nonce, time + EXPIRY_MS));
    }
    let signed = requests.into_iter().zip(batch.sign(&[key])?);
    let input = |(request, credential)| Input { request, time, credential: Some(credential) };
    Ok(signed.map(input).collect())
}
