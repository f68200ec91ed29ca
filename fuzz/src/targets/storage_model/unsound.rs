//! A store to which a payload, or a secret, was appended that the headers do not name: the check
//! finds it.
//!
//! This module does not know the objects of the rest of the run.

use object::commit::Commit;
use object::secret::Secret;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{Append, ErrorKind, Store};

use crate::generate::lineage::{Author, Ingredients, Made};
use crate::outcome::{Outcome, hold, must};

/// Appends to an empty store what the check must find.
pub(super) fn run(rng: &mut StdRng, parts: &Ingredients, store: &Store) -> Outcome {
    let (mut author, genesis) = Author::begin(rng, parts);
    let mut made = [genesis, author.version(rng), author.refusal(rng), author.version(rng)];
    let which = rng.random_range(0..made.len());
    let expected = change(rng, which, &mut made[which])?;
    let changes = made.iter().map(Made::change).collect();
    let append = Append { blobs: parts.blobs(), changes, ..Append::default() };
    must("appending", store.commit(&append))?;
    let report = must("checking", store.check(|_, _| {}))?;
    let is_it = |kind: &ErrorKind| match kind {
        ErrorKind::Damaged { expected: found, .. } => found == expected,
        _ => false,
    };
    let found = report.damage.iter().any(|damage| is_it(damage.error().kind()));
    hold(format!("{expected} are missed: {:?}", report.damage), found)
}

/// Changes what is beside the hashes of a record; returns what a check of it expects.
fn change(rng: &mut StdRng, which: usize, made: &mut Made) -> Result<&'static str, String> {
    match made {
        Made::Version { secret, .. } if which == 0 && rng.random() => {
            *secret = Some(Secret::new(rng.random()));
            Ok("the secret of the object")
        }
        Made::Version { bytes, .. } => {
            let whole = std::mem::take(bytes);
            let mut commit = must("a version", Commit::decode(&whole))?;
            let payload = match rng.random_range(0..3) {
                0 => &mut commit.input,
                1 => &mut commit.effects,
                _ => &mut commit.admission,
            };
            let other = [payload, &[0][..]].concat();
            *payload = &other;
            commit.encode_into(bytes);
            Ok("the payloads of the header")
        }
        Made::Refusal(refusal) => {
            match rng.random() {
                true => refusal.input.push(0),
                false => refusal.verdict.detail.push('!'),
            }
            Ok("records of an object")
        }
    }
}
