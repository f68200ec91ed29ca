//! Inputs of people and strangers: requests to a vault, signed by themselves or with others,
//! half signed, signed for something else, repeated, and tampered with.
//!
//! Invariant: the drawn input says truly whether each signature, or the code of a session, was
//! made for exactly this request; nothing here relies on the code that verifies them.

use std::time::Duration;

use object::credential::{Batch, Credential, Place, Proof, Signature, SigningKey};
use object::hash::{BatchRoot, ObjectId, SessionId, VersionHash};
use object::input::{Input, Request};
use object::limits::SIGNATURES_MAX;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use super::Ask;
use super::law::{keys, public, sessions};
use super::model::{Model, Signed, WEEK};

/// An input, with what it asks.
pub(crate) struct DrawnInput {
    pub(crate) input: Input,
    pub(crate) ask: Ask,
    pub(crate) signed: Option<Signed>,
}

/// The claims for which a signature or a code was made.
#[derive(Clone, PartialEq, Eq)]
struct Claims {
    object: ObjectId,
    request: Request,
    nonce: u64,
    expires: u64,
    parent: Option<VersionHash>,
    /// The place in its batch, when it was signed with others.
    place: Option<Place>,
}

impl Claims {
    fn of(credential: &Credential, object: ObjectId, request: &Request) -> Claims {
        let Credential { nonce, expires, parent, .. } = *credential;
        let (request, place) = (request.clone(), place(credential));
        Claims { object, request, nonce, expires: expires.as_millis(), parent, place }
    }
}

/// The memory of all signatures and codes, and of all inputs.
#[derive(Default)]
pub(crate) struct Mind {
    signatures: Vec<(Claims, Signature)>,
    codes: Vec<(Claims, SessionId, [u8; 32])>,
    asked: Vec<(Ask, Input)>,
}

impl Mind {
    /// Something to ask `object` for.
    pub(crate) fn draw(
        &mut self,
        rng: &mut StdRng,
        model: &Model,
        object: ObjectId,
        time: u64,
    ) -> DrawnInput {
        let again = !self.asked.is_empty() && rng.random_bool(0.25);
        let (ask, mut input) = match again {
            true => self.asked[rng.random_range(0..self.asked.len())].clone(),
            false => {
                let ask = Ask::draw(rng, &model.state, time);
                let request = ask.request();
                (ask, Input { request, time: Time::from_millis(time), credential: None })
            }
        };
        input.time = Time::from_millis(time);
        if !again && rng.random_bool(0.5) {
            let credential = match rng.random_bool(0.4) {
                true => self.put_in_session(rng, model, object, &input.request, time),
                false => self.sign(rng, model, object, &input.request, time),
            };
            input.credential = Some(credential);
        }
        let ask = match &mut input.credential {
            Some(credential) if rng.random_bool(if again { 0.4 } else { 0.1 }) => {
                tamper(rng, credential, model);
                match rng.random_bool(0.2) {
                    true => {
                        let other = Ask::draw(rng, &model.state, time);
                        input.request = other.request();
                        other
                    }
                    false => ask,
                }
            }
            _ => ask,
        };
        let signed = input.credential.as_ref().map(|it| self.judge(it, object, &input.request));
        self.asked.push((ask.clone(), input.clone()));
        DrawnInput { input, ask, signed }
    }

    /// Draws a request by as many new strangers as may sign one input.
    pub(crate) fn crowd(
        &mut self,
        rng: &mut StdRng,
        object: ObjectId,
        time: u64,
        expires: u64,
    ) -> DrawnInput {
        let ask = Ask::Add(1);
        let request = ask.request();
        let mut credential = Credential::new(rng.random_range(1..9), Time::from_millis(expires));
        for _ in 0..SIGNATURES_MAX {
            credential.sign(&SigningKey::from_secret(&rng.random()), object, &request);
        }
        let Credential { nonce, parent, .. } = credential;
        let keys = credential.signatures().iter().map(|signature| signature.key).collect();
        let signed = Signed { genuine: true, keys, session: None, nonce, expires, parent };
        let input = Input { request, time: Time::from_millis(time), credential: Some(credential) };
        DrawnInput { input, ask, signed: Some(signed) }
    }

    /// Signs a request as some people would.
    fn sign(
        &mut self,
        rng: &mut StdRng,
        model: &Model,
        object: ObjectId,
        request: &Request,
        time: u64,
    ) -> Credential {
        let nonce = match rng.random_range(0..8) {
            0 => model.last_nonce(),
            1 => model.last_nonce().saturating_sub(1),
            2 => rng.random_range(0..5),
            _ => model.last_nonce() + rng.random_range(1..4),
        };
        let expires = match rng.random_range(0..16) {
            0 => time.saturating_sub(1),
            1 => time,
            2 => time + WEEK + 1,
            3 => time + WEEK,
            _ => time + 60_000,
        };
        let mut credential = Credential::new(nonce, Time::from_millis(expires));
        credential.parent = match rng.random_range(0..6) {
            0 => Some(model.head),
            1 if rng.random_bool(0.3) => Some(VersionHash(rng.random())),
            1 if rng.random_bool(0.3) => Some(VersionHash([0; 32])),
            _ => None,
        };
        // A signature for another object is for that object only.
        let signed_for = if rng.random_bool(0.05) { ObjectId(rng.random()) } else { object };
        let signers: Vec<&SigningKey> = (0..rng.random_range(1..3))
            // Permitted signers are drawn more often than strangers.
            .map(|_| &keys()[rng.random_range(0..keys().len() * 2) % 8 % keys().len()])
            .collect();
        if rng.random_bool(0.3) {
            return self.sign_with_others(rng, model, (signed_for, request), credential, &signers);
        }
        signers.iter().for_each(|key| credential.sign(key, signed_for, request));
        self.remember(signed_for, request, &credential);
        credential
    }

    /// Puts a request into a session, as some people would, and some who do not have its secret.
    fn put_in_session(
        &mut self,
        rng: &mut StdRng,
        model: &Model,
        object: ObjectId,
        request: &Request,
        time: u64,
    ) -> Credential {
        // Open sessions are drawn more often than others.
        let open = sessions().iter().filter(|key| model.session(&key.id().0, time).is_some());
        let open: Vec<_> = open.collect();
        let key = match rng.random_bool(0.8) && !open.is_empty() {
            true => open[rng.random_range(0..open.len())],
            false => &sessions()[rng.random_range(0..sessions().len())],
        };
        let (ends, last) = model.session(&key.id().0, time).unwrap_or((time + 1000, 0));
        let nonce = match rng.random_range(0..8) {
            0 => last,
            1 => last.saturating_sub(1),
            _ => last + rng.random_range(1..4),
        };
        let expires = match rng.random_range(0..16) {
            0 => time.saturating_sub(1),
            1 => ends + 1,
            2 => time + WEEK + 1,
            3 => time,
            _ => ends,
        };
        let mut credential = Credential::new(nonce, Time::from_millis(expires));
        credential.parent = match rng.random_range(0..40) {
            0..4 => Some(model.head),
            4 => Some(VersionHash([0; 32])),
            _ => None,
        };
        let made_for = if rng.random_bool(0.05) { ObjectId(rng.random()) } else { object };
        credential.put_in_session(key, made_for, request);
        let claims = Claims::of(&credential, made_for, request);
        if let Proof::Session { session, mac } = &mut credential.proof {
            self.codes.push((claims, *session, *mac));
            if rng.random_bool(0.1) {
                // The code is of a secret, but not of this one's.
                *session = sessions()[rng.random_range(0..sessions().len())].id();
            }
        }
        credential
    }

    /// Signs a request in a batch with some others to the same object, which may be asked for
    /// later.
    fn sign_with_others(
        &mut self,
        rng: &mut StdRng,
        model: &Model,
        (object, request): (ObjectId, &Request),
        credential: Credential,
        signers: &[&SigningKey],
    ) -> Credential {
        let (own, count) = (rng.random_range(0..4), rng.random_range(1..5));
        let mut batch = Batch::new();
        let mut others = Vec::new();
        for index in 0..count {
            if index == own % count {
                batch.push(object, request, credential.clone());
            }
            let ask = Ask::draw(rng, &model.state, model.time);
            let nonce = credential.nonce + rng.random_range(0..3);
            let other = Credential { nonce, ..credential.clone() };
            batch.push(object, &ask.request(), other);
            others.push(ask);
        }
        let mut credentials = batch.sign(signers).expect("a small batch");
        let credential = credentials.remove(own % count);
        self.remember(object, request, &credential);
        for (ask, credential) in others.into_iter().zip(credentials) {
            let request = ask.request();
            self.remember(object, &request, &credential);
            self.asked.push((
                ask,
                Input {
                    request,
                    time: Time::from_millis(model.time),
                    credential: Some(credential),
                },
            ));
        }
        credential
    }

    /// Remembers the signatures of a credential.
    fn remember(&mut self, object: ObjectId, request: &Request, credential: &Credential) {
        let claims = Claims::of(credential, object, request);
        let made = credential.signatures().iter().map(|&signature| (claims.clone(), signature));
        self.signatures.extend(made);
    }

    /// Judges a credential for this request.
    fn judge(&self, credential: &Credential, object: ObjectId, request: &Request) -> Signed {
        let Credential { nonce, expires, parent, .. } = *credential;
        let claims = Claims::of(credential, object, request);
        let signatures = credential.signatures();
        let keys: Vec<[u8; 32]> = signatures.iter().map(|signature| signature.key).collect();
        let genuine = match credential.proof {
            Proof::Session { session, mac } => self.codes.contains(&(claims, session, mac)),
            Proof::Signatures(_) | Proof::Batch(..) => {
                let is_made = |signature: &Signature| {
                    let mut made = self.signatures.iter();
                    made.any(|made| made.1 == *signature && made.0 == claims)
                };
                let in_order = !keys.is_empty() && keys.is_sorted_by(|one, next| one < next);
                in_order && signatures.iter().all(is_made)
            }
        };
        let session = credential.session().map(|session| session.0);
        Signed { genuine, keys, session, nonce, expires: expires.as_millis(), parent }
    }
}

/// Returns the place in the batch of a credential, if it is in one.
fn place(credential: &Credential) -> Option<Place> {
    match &credential.proof {
        Proof::Batch(place, _) => Some(place.clone()),
        Proof::Signatures(_) | Proof::Session { .. } => None,
    }
}

/// Leads to another root than the one that was signed, or says that another root was.
fn tamper_place(rng: &mut StdRng, credential: &mut Credential) {
    let Proof::Batch(place, signatures) = &mut credential.proof else { return };
    let (mut index, mut count, mut path) = (place.index(), place.count(), place.path().to_vec());
    match rng.random_range(0..5) {
        0 if !path.is_empty() => {
            let at = rng.random_range(0..path.len());
            path[at] = BatchRoot(rng.random());
        }
        1 if path.len() > 1 => path.swap(0, 1),
        2 => index ^= 1,
        3 => count += 1,
        _ => {
            // A root that another key signed, with others under it.
            let request = Ask::Add(1).request();
            let key = &keys()[rng.random_range(0..keys().len())];
            credential.sign(key, ObjectId(rng.random()), &request);
            return;
        }
    }
    match (Place::new(index, count, path), rng.random_bool(0.1)) {
        (Some(other), false) => *place = other,
        // As if the input had been signed alone.
        _ => credential.proof = Proof::Signatures(std::mem::take(signatures)),
    }
}

/// Changes a credential without its keys.
fn tamper(rng: &mut StdRng, credential: &mut Credential, model: &Model) {
    if let Proof::Session { session, mac } = &mut credential.proof
        && rng.random_bool(0.4)
    {
        match rng.random_range(0..3) {
            0 => mac[rng.random_range(0..32)] ^= 1 << rng.random_range(0..8),
            1 => *session = sessions()[rng.random_range(0..sessions().len())].id(),
            _ => *session = SessionId(rng.random()),
        }
        return;
    }
    if place(credential).is_some() && rng.random_bool(0.5) {
        return tamper_place(rng, credential);
    }
    let count = credential.signatures().len();
    match rng.random_range(0..10) {
        0 => credential.nonce += 1,
        1 => credential.nonce = model.last_nonce() + 1,
        2 => credential.expires = credential.expires.saturating_add(Duration::from_millis(60_000)),
        3 => credential.parent = Some(model.head),
        4 => credential.parent = rng.random_bool(0.3).then_some(VersionHash([0; 32])),
        5 => credential.signatures_mut().clear(),
        6 if count > 1 => credential.signatures_mut().swap(0, 1),
        7 if count > 0 => {
            let first = credential.signatures()[0];
            credential.signatures_mut().push(first);
        }
        _ if count > 0 => {
            let signature = &mut credential.signatures_mut()[rng.random_range(0..count)];
            match rng.random_range(0..3) {
                0 => signature.key = public(rng.random_range(0..keys().len())),
                1 => signature.bytes[rng.random_range(0..64)] ^= 1 << rng.random_range(0..8),
                _ => signature.bytes = [0; 64],
            }
        }
        _ => credential.nonce = 0,
    }
}
