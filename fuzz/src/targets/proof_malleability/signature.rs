//! Credentials: without the key nobody can make other bytes that verify, and keys and points that
//! belong to everybody verify nothing.

use object::credential::{Credential, Memo, Signature, SigningKey};
use object::hash::{ObjectId, VersionHash};
use object::input::Request;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::header;
use crate::outcome::{Outcome, equal, hold, must};

/// The order of the group, little endian: a scalar plus this is equivalent to a verifier that does
/// not check.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];
/// Points of small order in the ways that they can be written: for each of them there are
/// signatures of anything by nobody.
const SMALL: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn small(index: usize) -> [u8; 32] {
    let digits = SMALL[index];
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16);
    std::array::from_fn(|at| byte(at).expect("the points are in hexadecimal"))
}

pub(super) fn run(rng: &mut StdRng) -> Result<u64, String> {
    let (object, request) = (ObjectId(rng.random()), header::input(rng).request);
    let mut credential = Credential::new(rng.random(), Time::from_millis(rng.random()));
    credential.parent = rng.random_bool(0.5).then(|| VersionHash(rng.random()));
    let keys: Vec<SigningKey> =
        (0..rng.random_range(1..4)).map(|_| SigningKey::from_secret(&rng.random())).collect();
    keys.iter().for_each(|key| credential.sign(key, object, &request));
    let found =
        must("verifying what was signed", credential.verify(object, &request, &Memo::default()))?;
    let mut expected: Vec<_> = keys.iter().map(SigningKey::public).collect();
    expected.sort();
    equal("who signed", &expected, &found)?;
    let mut tried = 0;
    for _ in 0..6 {
        let (what, other) = alter(rng, &credential, &keys);
        if other != credential {
            refutes(what, &other, object, &request)?;
            tried += 1;
        }
    }
    pair(rng, &keys[0])?;
    let other = ObjectId(rng.random());
    refutes("a credential for another object", &credential, other, &request)?;
    refutes("a credential of nobody", &nobody(rng), object, &request)?;
    Ok(tried + 3)
}

/// Requires that a secret is taken with its own public half, and with no other.
fn pair(rng: &mut StdRng, key: &SigningKey) -> Outcome {
    let (mut secret, mut public) = (key.secret(), key.public());
    let taken = must("a secret with its public half", SigningKey::from_pair(&secret, public))?;
    equal("whose key a pair is", &public, &taken.public())?;
    let half = if rng.random_bool(0.5) { &mut secret } else { &mut public.0 };
    half[rng.random_range(0..32)] ^= 1 << rng.random_range(0..8);
    hold("a pair with a changed bit is refused", SigningKey::from_pair(&secret, public).is_err())
}

fn refutes(what: &str, credential: &Credential, object: ObjectId, request: &Request) -> Outcome {
    let verified = credential.verify(object, request, &Memo::default());
    hold(format_args!("{what} does not verify: {credential:?}, {verified:?}"), verified.is_err())
}

/// Returns the credential in other bytes that mean the same to a lenient verifier, or with a part
/// of it changed.
fn alter(
    rng: &mut StdRng,
    credential: &Credential,
    keys: &[SigningKey],
) -> (&'static str, Credential) {
    let mut other = credential.clone();
    let at = rng.random_range(0..other.signatures().len());
    let signature = &mut other.signatures_mut()[at];
    let what = match rng.random_range(0..12) {
        0 | 1 => {
            add(&mut signature.bytes[32..], &ORDER);
            "a signature whose scalar is above the order"
        }
        2 => {
            signature.bytes[31] ^= 0x80;
            "a signature whose point has another sign"
        }
        3 => {
            signature.bytes[..32].copy_from_slice(&small(rng.random_range(0..SMALL.len())));
            "a signature whose point is of small order"
        }
        4 => {
            signature.key[31] ^= 0x80;
            "a signature whose key has another sign"
        }
        5 => {
            signature.bytes[rng.random_range(0..64)] ^= 1 << rng.random_range(0..8);
            "a signature with a bit that was turned"
        }
        6 => {
            let again = *signature;
            other.signatures_mut().insert(at, again);
            "a credential with a signature twice"
        }
        7 => {
            other.signatures_mut().reverse();
            "a credential with signatures in another order"
        }
        8 => {
            let stranger = SigningKey::from_secret(&rng.random());
            signature.key = stranger.public().0;
            other.signatures_mut().sort_by_key(|signature| signature.key);
            "a signature of somebody else"
        }
        9 => {
            let mut apart = Credential::new(other.nonce.wrapping_add(1), other.expires);
            apart.sign(&keys[0], ObjectId(rng.random()), &Request::Cycle);
            other.signatures_mut()[0] = apart.signatures()[0];
            other.signatures_mut().sort_by_key(|signature| signature.key);
            "a signature of something else"
        }
        10 => {
            other.nonce = other.nonce.wrapping_add(1);
            "a credential of another nonce"
        }
        _ => {
            let expires = Time::from_millis(other.nonce);
            (other.nonce, other.expires) = (other.expires.as_millis(), expires);
            "a credential whose nonce is its expiry"
        }
    };
    (what, other)
}

/// A signature that holds for every request when a key may be of small order: of the equation
/// `sB = R + kA`, both sides are nothing, or are often enough.
fn nobody(rng: &mut StdRng) -> Credential {
    let mut credential = Credential::new(rng.random(), Time::from_millis(rng.random()));
    let key = small(rng.random_range(0..SMALL.len()));
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&small(match rng.random_bool(0.7) {
        true => 0,
        false => rng.random_range(0..SMALL.len()),
    }));
    *credential.signatures_mut() = vec![Signature { key, bytes }];
    credential
}

/// Adds two numbers, little endian; a carry beyond the first one's bytes is lost.
fn add(number: &mut [u8], other: &[u8; 32]) {
    let mut carry = 0;
    for (byte, other) in number.iter_mut().zip(other) {
        let sum = u16::from(*byte) + u16::from(*other) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
}
