//! Calls: an input with its credentials, as a caller builds it.
//!
//! This module does not know how an input is run: [`Call::submit`] posts it and [`Call::dry_run`]
//! previews its outcome.

use std::future::IntoFuture;
use std::time::Duration;

use object::credential::{Credential, EXPIRY_MAX, SigningKey};
use object::hash::{ObjectId, VersionHash};
use object::input::{Input, Request};
use object::ledger::Tracked;
use object::time::Time;
use storage::lock::Mutex;

use crate::answer::receipt::Receipt;
use crate::answer::reply::{Answer, Pending};
use crate::answer::ticket::Durability;
use crate::audit::explain::{self, Explanation};
use crate::commit::shared::Shared;
use crate::credentials::nonces::{IssuedNonces, Nonces, Whose};
use crate::credentials::session::Session;
use crate::error::{ErrorKind, Result};
use crate::rank;
use crate::stack::on_thread;

/// The default validity of a signature.
pub(crate) const EXPIRY: Duration = Duration::from_secs(5 * 60);

/// An input to be: add credentials, then [`wait`](Call::wait), `.await` or [`submit`](Call::submit)
/// it, or put it in a [`batch`](crate::Database::batch) or a
/// [`transaction`](crate::Database::transaction).
#[derive(Debug)]
#[must_use = "a call does nothing until it is waited for, awaited, submitted or put with others"]
pub struct Call<'a> {
    pub(crate) request: Result<Request>,
    pub(crate) keys: Vec<&'a SigningKey>,
    pub(crate) session: Option<&'a Session>,
    pub(crate) envelope: Envelope<'a>,
}

/// The envelope of a call: what there is beside its request and its signers.
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    shared: &'a Shared,
    pub(crate) object: ObjectId,
    nonce: Option<u64>,
    expires: Option<Time>,
    parent: Option<VersionHash>,
    pub(crate) durability: Durability,
    pub(crate) even_if_ahead: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new(shared: &'a Shared, object: ObjectId, request: Result<Request>) -> Call<'a> {
        let (keys, session, nonce, expires, parent, durability) = Default::default();
        let even_if_ahead = false;
        let envelope =
            Envelope { shared, object, nonce, expires, parent, durability, even_if_ahead };
        Call { request, keys, session, envelope }
    }

    /// Signs the input with `key`; call it again for each further signer.
    pub fn signed(mut self, key: &'a SigningKey) -> Call<'a> {
        self.keys.push(key);
        self
    }

    /// Puts the input into a session that is open on the object, in place of signatures: it is in
    /// the name of the keys that opened the session.
    pub fn in_session(mut self, session: &'a Session) -> Call<'a> {
        self.session = Some(session);
        self
    }

    /// The nonce: above all that these keys, or the session, used on the object before. Default:
    /// the microseconds since 1970, or one more than the last that was issued here or that the
    /// object remembers of them.
    pub fn nonce(mut self, nonce: u64) -> Call<'a> {
        self.envelope.nonce = Some(nonce);
        self
    }

    /// Sets when the credential expires. Default: five minutes after the clock's time or the
    /// object's, whichever is later, or seven days if the object requires more, because many keys
    /// sign on it; in a session not after its end.
    pub fn expires(mut self, time: Time) -> Call<'a> {
        self.envelope.expires = Some(time);
        self
    }

    /// Sets the only version that the input may follow; the signature covers it.
    pub fn parent(mut self, version: VersionHash) -> Call<'a> {
        self.envelope.parent = Some(version);
        self
    }

    /// Lets the input in though the object's time is ahead of the host's clock by more than is
    /// [tolerated](crate::Options::clock_ahead_max): it is stamped with the object's time, and
    /// wakes that are due by the clock run before it. Without, it ends in
    /// [`Ahead`](crate::ErrorKind::Ahead).
    pub fn even_if_ahead(mut self) -> Call<'a> {
        self.envelope.even_if_ahead = true;
        self
    }

    /// Sets when the reply is sent. Default: [`Durable`](Durability::Durable).
    ///
    /// ```no_run
    /// # use continuant::{Database, Durability, ObjectId, args};
    /// # fn fly(db: &Database, plane: ObjectId) -> continuant::Result<()> {
    /// let call = db.call(plane, "fly", args![227u64]).durability(Durability::Relaxed);
    /// let receipt = call.wait()?;                 // in memory; the disk is still at work
    /// println!("version {}", receipt.header.seq);
    /// receipt.ticket.wait()?;                     // or .await: no crash undoes it any more
    /// let outputs = receipt.outputs()?;           // an error before the ticket is settled
    /// # Ok(())
    /// # }
    /// ```
    pub fn durability(mut self, durability: Durability) -> Call<'a> {
        self.envelope.durability = durability;
        self
    }

    /// Posts the input to the object.
    ///
    /// # Errors
    ///
    /// [`MailboxFull`](crate::ErrorKind::MailboxFull), [`NoObject`](crate::ErrorKind::NoObject),
    /// [`Closed`](crate::ErrorKind::Closed), [`NotSigned`](crate::ErrorKind::NotSigned),
    /// [`TwoCredentials`](crate::ErrorKind::TwoCredentials), and
    /// [`Object`](crate::ErrorKind::Object) for a method or an argument that the schema does not
    /// have, or more of them than an input may have, and [`Limit`](crate::ErrorKind::Limit) for
    /// more than the database takes.
    pub fn submit(self) -> Result<Pending> {
        let object = self.envelope.object;
        self.post().map_err(|error| error.about(object))
    }

    fn post(self) -> Result<Pending> {
        let mut nonces = None;
        let (envelope, input) = self.input(&mut nonces)?;
        envelope.post(input)
    }

    /// The input, with its credential; last nonces that are locked for it stay so in `nonces`,
    /// which is kept until the input is posted.
    fn input(self, nonces: &mut Option<Nonces<'a>>) -> Result<(Envelope<'a>, Input)> {
        let nonces = nonces.insert(Nonces::lock(self.last_issued().into_iter()));
        self.sign(nonces)
    }

    /// Returns the last issued nonce, when the next one is to be issued.
    pub(crate) fn last_issued(&self) -> Option<&'a Mutex<IssuedNonces, rank::Nonces>> {
        let is_signed = !self.keys.is_empty() || self.session.is_some();
        self.envelope.last_issued().filter(|_| is_signed)
    }

    /// Returns the input with its credential; draws its nonce from the locked ones.
    pub(crate) fn sign(self, nonces: &mut Nonces<'a>) -> Result<(Envelope<'a>, Input)> {
        let Call { request, keys, session, envelope } = self;
        let request = request?;
        if keys.is_empty() && session.is_none() {
            envelope.not_signed()?;
            let input = envelope.input(request, envelope.shared.options.clock.now(), None)?;
            return Ok((envelope, input));
        }
        if session.is_some() && !keys.is_empty() {
            return Err(ErrorKind::TwoCredentials { other: "session" }.into());
        }
        let (time, mut expires) = envelope.times(&keys)?;
        if let Some(session) = session.filter(|_| envelope.expires.is_none()) {
            expires = expires.min(session.expires());
        }
        let whose: Vec<Whose> = match session {
            None => keys.iter().map(|key| Whose::Key(key.public())).collect(),
            Some(session) => vec![Whose::Session(session.id())],
        };
        let mut credential = envelope.credential(expires, &whose, nonces)?;
        match session {
            None => keys.iter().for_each(|key| credential.sign(key, envelope.object, &request)),
            Some(session) => credential.put_in_session(session.key(), envelope.object, &request),
        }
        let input = envelope.input(request, time, Some(credential))?;
        Ok((envelope, input))
    }

    /// Shows the outcome of the input as if it were the object's next one, and why: it is run and
    /// decided on as if it were submitted, behind the wakes that are due, and nothing is committed,
    /// put on record, or used up.
    ///
    /// ```
    /// use continuant::{Code, Database, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let code = Code::wasm(continuant::samples::COUNTER)?
    /// #     .policy(continuant::samples::COUNTER_POLICY);
    /// # let counter = db.create(code)?;
    /// let explanation = db.call(counter, "increment", args![1_000_000u64]).dry_run()?;
    /// let verdict = explanation.verdict.unwrap_err();
    /// assert_eq!(verdict.reason.name(), "not-permitted");
    /// let policy = explanation.policy.expect("it was the policy that refused");
    /// let count = &policy.rules[0];                           // the rule that does not hold
    /// assert_eq!(count.id, "count");
    /// assert_eq!(count.reads[0].path, "input.by");            // and what it reads
    /// assert_eq!(count.reads[0].value, Ok(Some(1_000_000i64.into())));
    /// assert_eq!(db.info(counter)?.seq, 0, "nothing happened");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Call::submit`], and failures that kept the engine from a verdict; a refusal is
    /// not an error here.
    pub fn dry_run(self) -> Result<Explanation> {
        let (shared, object) = (self.envelope.shared, self.envelope.object);
        let explanation = self.input(&mut None);
        let explanation = explanation.and_then(|(envelope, input)| {
            let even_if_ahead = envelope.even_if_ahead;
            on_thread(|stack| explain::dry_run(shared, stack, object, input, even_if_ahead))?
        });
        explanation.map_err(|error| error.about(object))
    }

    /// Posts the input and blocks until its version is durable, or in memory if relaxed.
    ///
    /// # Errors
    ///
    /// Those of [`Call::submit`] and [`Pending::wait`].
    pub fn wait(self) -> Result<Receipt> {
        self.submit()?.wait()
    }
}

impl<'a> Envelope<'a> {
    /// Checks that a call without a signature was given no part of one.
    fn not_signed(&self) -> Result<()> {
        let (nonce, expires) = (self.nonce.is_some(), self.expires.is_some());
        let given = [(nonce, "nonce"), (expires, "expiry"), (self.parent.is_some(), "parent")];
        match given.into_iter().find(|(given, _)| *given) {
            Some((_, what)) => Err(ErrorKind::NotSigned { what }.into()),
            None => Ok(()),
        }
    }

    /// The time at which it is posted, and that at which its credential, of `keys`, expires.
    pub(crate) fn times(&self, keys: &[&SigningKey]) -> Result<(Time, Time)> {
        let time = self.shared.options.clock.now();
        let expires = match self.expires {
            Some(expires) => expires,
            None => {
                let start = time.max(self.shared.head_time(self.object)?);
                match start.saturating_add(EXPIRY) {
                    expires if self.floor(keys)?.is_none_or(|floor| expires > floor) => expires,
                    // Many keys signed for long: it holds as long as it may.
                    _ => start.saturating_add(EXPIRY_MAX),
                }
            }
        };
        Ok((time, expires))
    }

    /// Returns the moment after which an input of `keys` has to expire, if there is one, as far as
    /// the newest version shows, as if the policy named none of them.
    fn floor(&self, keys: &[&SigningKey]) -> Result<Option<Time>> {
        if keys.is_empty() {
            return Ok(None);
        }
        let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
        Ok(self.shared.ledger(self.object)?.nonces.floor(&keys, Tracked::NONE))
    }

    /// Returns the last issued nonce, when the next one is to be issued.
    pub(crate) fn last_issued(&self) -> Option<&'a Mutex<IssuedNonces, rank::Nonces>> {
        self.nonce.is_none().then(|| self.shared.credentials.last_nonce(self.object))
    }

    /// The credential of these, not signed yet.
    pub(crate) fn credential(
        &self,
        expires: Time,
        whose: &[Whose],
        nonces: &mut Nonces<'_>,
    ) -> Result<Credential> {
        let (shared, object) = (self.shared, self.object);
        let nonce = match self.nonce {
            Some(nonce) => nonce,
            None => {
                let used = shared.used_nonce(object, whose)?;
                nonces.next(shared.credentials.last_nonce(object), object, whose, used)
            }
        };
        Ok(Credential { parent: self.parent, ..Credential::new(nonce, expires) })
    }

    /// The input, within its limits.
    pub(crate) fn input(
        &self,
        request: Request,
        time: Time,
        credential: Option<Credential>,
    ) -> Result<Input> {
        let input = Input { request, time, credential };
        input.validate()?;
        self.shared.options.validate(&input)?;
        Ok(input)
    }

    /// Posts the input.
    pub(crate) fn post(&self, input: Input) -> Result<Pending> {
        let (reply, pending) = self.shared.channel(self.durability);
        self.shared.post.post_input(self.object, input, reply, self.even_if_ahead)?;
        Ok(pending)
    }
}

impl<'a> IntoFuture for Call<'a> {
    type Output = Result<Receipt>;
    type IntoFuture = Answer;

    /// Posts the input; the future is ready when its version is durable, or relaxed.
    fn into_future(self) -> Answer {
        match self.submit() {
            Ok(pending) => pending.into_future(),
            Err(error) => Pending::failed(error).into_future(),
        }
    }
}
