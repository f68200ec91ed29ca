//! Proofs of ancestry: there is one for each pair of versions, and a changed one proves nothing.

use object::ancestry::AncestryProof;
use object::hash::VersionHash;
use object::header::{Header, Kind};
use object::lineage::Spine;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::header;
use crate::outcome::{Outcome, equal, hold, must};

/// Changes of each proof.
const CHANGES: u64 = 8;

pub(super) fn run(rng: &mut StdRng) -> Result<u64, String> {
    let headers = chain(rng);
    for _ in 0..4 {
        let from = rng.random_range(0..headers.len());
        let to = rng.random_range(0..=from);
        let read = |seq: u64| Ok::<_, String>(headers[seq as usize].clone());
        let proof = AncestryProof::collect(from as u64, to as u64, read)?;
        let (descendant, ancestor) = (headers[from].hash(), headers[to].hash());
        must("verifying a proof", proof.verify(descendant, ancestor))?;
        for _ in 0..CHANGES {
            let (what, other) = alter(rng, &proof, &headers);
            if other == proof {
                continue;
            }
            let verified = other.verify(descendant, ancestor);
            hold(format_args!("{what} of {from} to {to} proves nothing"), verified.is_err())?;
        }
        foreign(rng, &proof, descendant, ancestor)?;
    }
    Ok(4 * (CHANGES + 2))
}

/// Returns headers that are chained as those of an object are.
fn chain(rng: &mut StdRng) -> Vec<Header> {
    let mut headers: Vec<Header> = Vec::new();
    let mut spine = Spine::<VersionHash>::new();
    let first = loop {
        let header = header::header(rng);
        if header.kind == Kind::Create {
            break header;
        }
    };
    let id = first.object_id();
    spine.push(first.hash());
    headers.push(first);
    for seq in 1..rng.random_range(2..80) {
        let parent = Some(headers[seq - 1].hash());
        let jump = spine.next_jump();
        let made = Header {
            kind: Kind::Call,
            seq: seq as u64,
            time: Time::from_millis(rng.random()),
            object: Some(id),
            parent,
            jump,
            ..headers[seq - 1].clone()
        };
        spine.push(made.hash());
        headers.push(made);
    }
    headers
}

/// A proof between the same versions that is another.
fn alter(
    rng: &mut StdRng,
    proof: &AncestryProof,
    headers: &[Header],
) -> (&'static str, AncestryProof) {
    let mut other = proof.clone();
    let all = &mut other.headers;
    let at = rng.random_range(0..all.len());
    let any = headers[rng.random_range(0..headers.len())].clone();
    let what = match rng.random_range(0..8) {
        0 => {
            all.remove(at);
            "a proof with a header left out"
        }
        1 => {
            let again = all[at].clone();
            all.insert(at, again);
            "a proof with a header twice"
        }
        2 => {
            all.insert(at, any);
            "a proof with one more header"
        }
        3 => {
            all[at] = any;
            "a proof with another header"
        }
        4 => {
            let time = all[at].time.as_millis() ^ 1 << rng.random_range(0..64);
            all[at].time = Time::from_millis(time);
            "a proof with a header that was changed"
        }
        5 => {
            all.reverse();
            "a proof that goes back"
        }
        6 => {
            all.push(any);
            "a proof that goes on"
        }
        _ => {
            // A way by the parents only: it leads there as well, but is not the canonical one.
            let last = all.last().map_or(0, |last| last.seq);
            let first = all.first().map_or(0, |first| first.seq);
            *all = (last..=first).rev().map(|seq| headers[seq as usize].clone()).collect();
            "a proof by the long way"
        }
    };
    (what, other)
}

/// A proof proves nothing of other versions.
fn foreign(
    rng: &mut StdRng,
    proof: &AncestryProof,
    descendant: VersionHash,
    ancestor: VersionHash,
) -> Outcome {
    let other = VersionHash(rng.random());
    hold("a proof is of its descendant", proof.verify(other, ancestor).is_err())?;
    hold("a proof is of its ancestor", proof.verify(descendant, other).is_err())?;
    let swapped = proof.verify(ancestor, descendant).is_ok();
    equal("that a proof is of both ways", &(ancestor == descendant), &swapped)
}
