//! Transactions: calls of several objects that are admitted together or not at all.
//!
//! This module does not know how they are run.

use std::future::IntoFuture;

use object::hash::ObjectId;

use crate::answer::receipt::Receipt;
use crate::answer::reply::{Answer, Pending};
use crate::answer::ticket::Durability;
use crate::ask::call::Call;
use crate::commit::shared::Shared;
use crate::credentials::nonces::Nonces;
use crate::error::{Error, ErrorKind, Result};
use crate::run::transaction::QueuedTransaction;

/// Calls of different objects, to be admitted together or not at all: each by the policy of its own
/// object, on a state that no other step changes meanwhile, and all of them in one frame of the
/// log, which a crash leaves whole or not at all.
///
/// Transactions and single calls are serializable: they take effect as if they had run one after
/// another, in the order of submission as far as they share objects. No transaction is ever aborted
/// for another, and there are no deadlocks. A snapshot is of one object: between two snapshots a
/// transaction may commit.
///
/// Each call is signed, not the transaction: anyone who has a signed call can submit it alone.
/// Where it must not go alone, a policy has to prevent that.
///
/// ```
/// use continuant::{Code, Database, args};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let db = Database::open(directory.path().join("db"))?;
/// # let wasm = continuant::samples::COUNTER;
/// # let policy = continuant::samples::COUNTER_POLICY;
/// # let code = Code::wasm(wasm)?.policy(policy);
/// # let [one, other] = [db.create(code.clone())?, db.create(code)?];
/// let increment = |id, by: u64| db.call(id, "increment", args![by]);
/// let receipts = db.transaction([increment(one, 2), increment(other, 3)]).wait()?;
/// assert_eq!((receipts[0].object, receipts[1].object), (one, other));
///
/// let refused = db.transaction([increment(one, 2), increment(other, 1_000_000)]).wait();
/// assert_eq!(refused.unwrap_err().object(), Some(other), "its policy refuses");
/// assert_eq!(db.snapshot(one)?.get::<u64>("count")?, 2, "so nothing was done");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction does nothing until it is waited for, awaited or submitted"]
pub struct Transaction<'a> {
    shared: &'a Shared,
    calls: Vec<Call<'a>>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        calls: impl IntoIterator<Item = Call<'a>>,
    ) -> Transaction<'a> {
        Transaction { shared, calls: calls.into_iter().collect() }
    }

    /// Posts the inputs to their objects; they run in the order of the calls. The reply waits for
    /// the disk, unless each of the calls is [`Relaxed`](Durability::Relaxed).
    ///
    /// # Errors
    ///
    /// Those of [`Call::submit`], about the first call that has one; [`Twice`](ErrorKind::Twice)
    /// for a second call of an object, [`Limit`](ErrorKind::Limit) for more of them than
    /// [`transaction_max`](crate::Options::transaction_max), or none. Nothing was posted then.
    pub fn submit(self) -> Result<Pending<Vec<Receipt>>> {
        let (count, max) = (self.calls.len(), self.shared.options.transaction_max);
        if !(1..=max).contains(&count) {
            let (what, max, found) = ("transaction_max", max as u64, count as u64);
            return Err(ErrorKind::Limit { what, max, found }.into());
        }
        let mut ids: Vec<_> = self.calls.iter().map(|call| call.envelope.object).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::from(ErrorKind::Twice).about(pair[0]));
        }
        let is_relaxed = |call: &Call<'_>| call.envelope.durability == Durability::Relaxed;
        let durability = match self.calls.iter().all(is_relaxed) {
            true => Durability::Relaxed,
            false => Durability::Durable,
        };
        // Kept until the inputs are posted.
        let mut nonces = Nonces::lock(self.calls.iter().filter_map(Call::last_issued));
        let accepted_ahead = self.calls.iter().filter(|call| call.envelope.even_if_ahead);
        let accepted_ahead: Vec<ObjectId> =
            accepted_ahead.map(|call| call.envelope.object).collect();
        let inputs = self.calls.into_iter().map(|call| {
            let object = call.envelope.object;
            let signed = call.sign(&mut nonces).map_err(|error| error.about(object));
            signed.map(|(_, input)| (object, input))
        });
        let (reply, pending) = self.shared.channel(durability);
        let inputs = inputs.collect::<Result<_>>()?;
        self.shared.post.post_transaction(QueuedTransaction::new(inputs, accepted_ahead, reply))?;
        Ok(pending)
    }

    /// Posts the inputs and blocks until their versions are durable, or in memory if relaxed.
    /// Returns their receipts, in the order of the calls.
    ///
    /// # Errors
    ///
    /// Those of [`Transaction::submit`] and [`Pending::wait`]; the error is about the first object
    /// that refused, or failed, and nothing was done. A refusal is on record like any other.
    pub fn wait(self) -> Result<Vec<Receipt>> {
        self.submit()?.wait()
    }
}

impl IntoFuture for Transaction<'_> {
    type Output = Result<Vec<Receipt>>;
    type IntoFuture = Answer<Vec<Receipt>>;

    /// Posts the inputs; the future is ready when their versions are durable, or relaxed.
    fn into_future(self) -> Answer<Vec<Receipt>> {
        match self.submit() {
            Ok(pending) => pending.into_future(),
            Err(error) => Pending::failed(error).into_future(),
        }
    }
}
