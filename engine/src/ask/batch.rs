//! Batches: calls with one signature of each key over all of them, each with its path to the signed
//! root.
//!
//! This module does not know how an input is run. The calls of a batch are posted in their order
//! and are then independent: one may be refused and the next admitted.

use object::credential::{self, SigningKey};

use crate::answer::receipt::Receipt;
use crate::answer::reply::Pending;
use crate::ask::call::Call;
use crate::credentials::nonces::{Nonces, Whose};
use crate::error::{Error, ErrorKind, Result};

/// Calls of any objects, to be signed together.
///
/// Most of the cost of a signed call is verifying its signature; that of a batch is verified once,
/// and each of its calls costs a few hashes. The lineage of one object suffices to verify that its
/// calls were signed, and shows of the others only hashes.
///
/// ```no_run
/// # use continuant::{Database, ObjectId, SigningKey, args};
/// # fn fly(db: &Database, planes: &[ObjectId], key: &SigningKey) -> continuant::Result<()> {
/// let flights = planes.iter().map(|&plane| db.call(plane, "fly", args![227u64]));
/// for receipt in db.batch(flights).signed(key).wait()? {
///     println!("version {}", receipt?.header.seq);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a batch does nothing until it is waited for or submitted"]
pub struct Batch<'a> {
    calls: Vec<Call<'a>>,
    keys: Vec<&'a SigningKey>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(calls: impl IntoIterator<Item = Call<'a>>) -> Batch<'a> {
        Batch { calls: calls.into_iter().collect(), keys: Vec::new() }
    }

    /// Signs the batch with `key`; call it again for each further signer.
    pub fn signed(mut self, key: &'a SigningKey) -> Batch<'a> {
        self.keys.push(key);
        self
    }

    /// Posts the inputs to their objects, and returns the reply of each, in the order of the calls.
    ///
    /// An input that cannot be posted, because its object has too much mail for example, is
    /// answered with that error; the others are posted.
    ///
    /// # Errors
    ///
    /// Those of [`Call::submit`] that are known before anything is signed, about the first call
    /// that has one; [`NotSigned`](ErrorKind::NotSigned) for a batch without a key,
    /// [`TwoCredentials`](ErrorKind::TwoCredentials) when a call is signed by itself, and
    /// [`Object`](ErrorKind::Object) when the batch has more calls than one may have. Nothing was
    /// posted then.
    pub fn submit(self) -> Result<Vec<Pending>> {
        if self.keys.is_empty() {
            return Err(ErrorKind::NotSigned { what: "batch" }.into());
        }
        let mut calls = Vec::with_capacity(self.calls.len());
        for Call { request, keys, session, envelope } in self.calls {
            let object = envelope.object;
            let about = |error: Error| error.about(object);
            if !keys.is_empty() || session.is_some() {
                return Err(about(ErrorKind::TwoCredentials { other: "batch" }.into()));
            }
            let (time, expires) = envelope.times(&self.keys).map_err(about)?;
            calls.push((envelope, request.map_err(about)?, time, expires));
        }
        // Kept until the inputs are posted.
        let mut nonces = Nonces::lock(calls.iter().filter_map(|call| call.0.last_issued()));
        let whose: Vec<Whose> = self.keys.iter().map(|key| Whose::Key(key.public())).collect();
        let mut batch = credential::Batch::new();
        for (envelope, request, _, expires) in &calls {
            let credential = envelope.credential(*expires, &whose, &mut nonces);
            batch.push(
                envelope.object,
                request,
                credential.map_err(|it| it.about(envelope.object))?,
            );
        }
        let credentials = batch.sign(&self.keys)?;
        let signed = calls.into_iter().zip(credentials);
        let posted = signed.map(|((envelope, request, time, _), credential)| {
            let input = envelope.input(request, time, Some(credential));
            let posted = input.and_then(|input| envelope.post(input));
            posted.unwrap_or_else(|error| Pending::failed(error.about(envelope.object)))
        });
        Ok(posted.collect())
    }

    /// Posts the inputs and blocks until each has its answer.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::submit`]; within, those of [`Pending::wait`], and errors that kept an
    /// input from being posted.
    pub fn wait(self) -> Result<Vec<Result<Receipt>>> {
        Ok(self.submit()?.into_iter().map(Pending::wait).collect())
    }
}
