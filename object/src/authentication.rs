//! Authentication: who asks, and whether they may be asking this now. The native rules of an
//! object, which no policy can waive: credentials, nonces, sessions and the wake.
//!
//! The engine and the verifier call these functions before they decide on a step. It does not know
//! policies, nor steps.

use crate::credential::{Credential, EXPIRY_MAX, Host, PublicKey};
use crate::error::{Error, ErrorKind};
use crate::hash::{SessionId, VersionHash};
use crate::head::Head;
use crate::input::{Input, Request};
use crate::ledger::{NonceProblem, SessionProblem, Tracked, Used};
use crate::limits::EXPIRY_MS_MAX;
use crate::refusal::{Reason, Verdict};
use crate::time::Time;

/// Verifies the credential, and that its holders may ask this now, of an object whose policy names
/// the keys in `tracked`. Returns the keys that signed, or that opened the session, ascending. With
/// one memo for many inputs, the signatures of a batch are verified once.
///
/// The one check that only the object's host can make, of a code in a session, comes last: so every
/// verifier reaches the same verdict except for that check.
///
/// # Errors
///
/// The verdict of the first native rule that refuses.
pub fn authenticate(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    host: Host<'_>,
) -> Result<Vec<PublicKey>, Verdict> {
    let keys = signers_of(head, tracked, input, host)?;
    opening(head, tracked, input, &keys)?;
    Ok(keys)
}

/// Checks that `keys` can open a session, if the input asks for one.
fn opening(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    keys: &[PublicKey],
) -> Result<(), Verdict> {
    let Request::OpenSession { session, expires } = input.request else { return Ok(()) };
    expiry(expires, input.time)?;
    let is_named = keys.iter().any(|key| tracked.names(key));
    let admitted = head.ledger.sessions.admit(session, (keys.len(), is_named), input.time);
    admitted.map_err(|problem| match problem {
        SessionProblem::Open => Verdict::native(Reason::SessionOpen, session.to_string()),
        SessionProblem::Full => Verdict::native(Reason::SessionsFull, ""),
    })
}

/// Verifies the credential as [`authenticate`] does, up to the check of a session to open.
fn signers_of(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    host: Host<'_>,
) -> Result<Vec<PublicKey>, Verdict> {
    let Some(credential) = timely(head, input)? else { return Ok(Vec::new()) };
    if let Some(parent) = credential.parent.filter(|parent| *parent != head.hash) {
        return Err(wrong_parent(head, parent));
    }
    if let Some(session) = credential.session() {
        return in_session(head, input, (credential, session), host);
    }
    let keys = credential
        .verify(head.id, &input.request, host.memo())
        .map_err(|error| Verdict::native(Reason::Credential, problem(&error)))?;
    let (nonce, expires) = (credential.nonce, credential.expires);
    let admitted = head.ledger.nonces.admit(&keys, Used { nonce, expires }, tracked);
    admitted.map_err(|problem| used(problem, credential))?;
    Ok(keys)
}

/// The credential of an input, if it has one and needs it and it has not expired; none, if it needs
/// none.
fn timely<'i>(head: &Head, input: &'i Input) -> Result<Option<&'i Credential>, Verdict> {
    if input.request.origin().is_some() && input.credential.is_some() {
        let detail = "a message of an object carries no credential";
        return Err(Verdict::native(Reason::Credential, detail));
    }
    if input.request == Request::Cycle {
        if input.credential.is_some() {
            let detail = "the object's own cycle carries no credential";
            return Err(Verdict::native(Reason::Credential, detail));
        }
        if head.header.wake.is_none_or(|wake| wake > input.time) {
            let detail = head.header.wake.map_or("no wake is set".to_string(), |wake| {
                let (wake, time) = (wake.as_millis(), input.time.as_millis());
                format!("the next wake is at {wake}, the time is {time}")
            });
            return Err(Verdict::native(Reason::NotDue, detail));
        }
    }
    let Some(credential) = &input.credential else {
        return match input.request {
            Request::OpenSession { .. } => Err(takes_a_signature(input)),
            _ => Ok(None),
        };
    };
    expiry(credential.expires, input.time)?;
    Ok(Some(credential))
}

/// Verifies an input in a session, and that the session is open: the keys that opened it.
fn in_session(
    head: &Head,
    input: &Input,
    (credential, session): (&Credential, SessionId),
    host: Host<'_>,
) -> Result<Vec<PublicKey>, Verdict> {
    if !matches!(input.request, Request::Call { .. } | Request::Write { .. }) {
        return Err(takes_a_signature(input));
    }
    let opened = head.ledger.sessions.get(session);
    let Some(open) = opened.filter(|open| open.expires() >= input.time) else {
        return Err(Verdict::native(Reason::NoSession, session.to_string()));
    };
    if credential.expires > open.expires() {
        let (expires, ends) = (credential.expires.as_millis(), open.expires().as_millis());
        let detail = format!("it expires at {expires}, the session at {ends}");
        return Err(Verdict::native(Reason::ExpiresTooLate, detail));
    }
    open.admit(credential.nonce).map_err(|problem| used(problem, credential))?;
    match host.takes_code(credential, head.id, &input.request) {
        true => Ok(open.keys().to_vec()),
        false => Err(wrong_code()),
    }
}

/// Checks that `expires` is not before `time`, and is within the limit after it.
fn expiry(expires: Time, time: Time) -> Result<(), Verdict> {
    let (end, now) = (expires.as_millis(), time.as_millis());
    if expires < time {
        let detail = format!("it expired at {end}, the time is {now}");
        return Err(Verdict::native(Reason::Expired, detail));
    }
    if expires.saturating_duration_since(time) > EXPIRY_MAX {
        let detail = format!("it expires at {end}, more than {EXPIRY_MS_MAX} ms after {now}");
        return Err(Verdict::native(Reason::ExpiresTooLate, detail));
    }
    Ok(())
}

/// Returns the verdict on a request that outlasts sessions, and comes in one, or unsigned.
fn takes_a_signature(input: &Input) -> Verdict {
    let detail = format!("{} takes a signature", input.request.action());
    Verdict::native(Reason::Credential, detail)
}

/// The verdict on a nonce.
fn used(problem: NonceProblem, credential: &Credential) -> Verdict {
    let Credential { nonce, expires, .. } = credential;
    let (reason, detail) = match problem {
        NonceProblem::Replayed => (Reason::Replayed, format!("nonce {nonce}")),
        NonceProblem::Reordered => (Reason::Reordered, format!("nonce {nonce}")),
        NonceProblem::Forgotten { floor } => {
            let many = "many keys signed lately, and what is to follow theirs has to expire";
            let (expires, floor) = (expires.as_millis(), floor.as_millis());
            (Reason::NoncesFull, format!("it expires at {expires}: {many} after {floor}"))
        }
    };
    Verdict::native(reason, detail)
}

/// The verdict on an input that is to follow another version.
fn wrong_parent(head: &Head, parent: VersionHash) -> Verdict {
    let detail = format!("it follows {parent}, the head is {}", head.hash);
    Verdict::native(Reason::WrongParent, detail)
}

/// Returns the verdict on a wrong code of an input in a session; only the host can give it.
fn wrong_code() -> Verdict {
    Verdict::native(Reason::SessionCode, "the code is not of the session's secret")
}

/// Returns the native verdict on an input that was refused with `given`: that of [`authenticate`]
/// or, where only the host could give it, `given` itself.
///
/// # Errors
///
/// The verdict.
pub fn authenticate_refused(
    head: &Head,
    tracked: &Tracked,
    input: &Input,
    host: Host<'_>,
    given: &Verdict,
) -> Result<Vec<PublicKey>, Verdict> {
    let signers = authenticate(head, tracked, input, host)?;
    let session = input.credential.as_ref().and_then(Credential::session);
    match session.is_some() && *given == wrong_code() {
        true => Err(given.clone()),
        false => Ok(signers),
    }
}

/// Returns a credential's fault, without the words that the reason has already.
fn problem(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Credential(problem) => problem.clone(),
        _ => error.to_string(),
    }
}
