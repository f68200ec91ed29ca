//! The salts that a secret gives, and those that it gives no more.

use std::collections::HashSet;

use expect_test::expect;
use object::ErrorKind;
use object::effects::Admission;
use object::hash::{AdmissionHash, InputHash};
use object::limits::SEQ_MAX;
use object::secret::{SECRET_BYTES, SECRET_ENCODED_MAX, Secret};

use crate::samples::{self, array};
use crate::source::Source;

const DRAWN: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

/// Versions around the places where digits change.
fn seqs() -> Vec<u64> {
    let around = |digits: u32| {
        let power = 1u64 << (6 * digits);
        [power - 1, power, power + 1, 2 * power - 1, 2 * power, 63 * power + 5]
    };
    let mut seqs: Vec<u64> = (0..5).flat_map(around).collect();
    seqs.extend([5, 62, 100, 5_000, 300_000, 1 << 40, 1 << 60, SEQ_MAX - 1, SEQ_MAX]);
    seqs.sort_unstable();
    seqs.dedup();
    seqs
}

#[test]
fn salts_from_a_version_on_are_the_same_and_earlier_ones_are_gone() {
    let whole = Secret::new(DRAWN);
    for from in seqs() {
        let kept = whole.since(from).unwrap();
        let kept = Secret::decode(&kept.encode()).unwrap();
        assert_eq!(kept.from(), from);
        for seq in seqs() {
            match kept.since(seq) {
                Ok(later) => {
                    assert!(seq >= from);
                    assert_eq!(later, whole.since(seq).unwrap(), "{from}, then {seq}");
                }
                Err(error) => {
                    assert!(seq < from);
                    assert_eq!(*error.kind(), ErrorKind::Erased { seq, from });
                }
            }
        }
    }
}

#[test]
fn a_step_leads_to_the_next_version() {
    let whole = Secret::new(DRAWN);
    for from in [0, 4_000, 262_100, SEQ_MAX - 200] {
        let mut secret = whole.since(from).unwrap();
        for seq in from..(from + 200).min(SEQ_MAX) {
            assert_eq!(secret, whole.since(seq).unwrap(), "{seq}");
            secret.advance();
        }
    }
    let mut secret = whole.clone();
    (0..10_000).for_each(|_| secret.advance());
    assert_eq!(secret, whole.since(10_000).unwrap());
}

/// A node that has an earlier version gives its salts: so none may be among the kept keys.
#[test]
fn no_key_from_a_version_on_is_of_an_earlier_one() {
    let whole = Secret::new(DRAWN);
    let keys = |seq: u64| {
        let encoded = whole.since(seq).unwrap().encode();
        let keys = encoded[encoded.len() % SECRET_BYTES..].chunks_exact(SECRET_BYTES);
        keys.map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    // The last key is of this version; those before it are of later ones.
    let mut earlier = HashSet::new();
    for seq in 0..5_000 {
        let kept = keys(seq);
        assert!(kept.iter().all(|key| !earlier.contains(key)), "{seq}");
        earlier.extend(kept.last().cloned());
    }
    assert_eq!(earlier.len(), 5_000);
}

#[test]
fn every_version_and_every_refusal_has_salts_of_its_own() {
    let (mut seen, mut count) = (HashSet::new(), 0);
    for drawn in [DRAWN, [8; SECRET_BYTES]] {
        let mut secret = Secret::new(drawn);
        for _ in 0..300 {
            let salts = secret.version_salts();
            seen.extend([salts.input.0, salts.effects.0, salts.admission.0]);
            seen.extend([0, 1, 1 << 40].map(|before| secret.refusal_salt(before).0));
            count += 6;
            secret.advance();
        }
    }
    assert_eq!(seen.len(), count);
}

#[test]
fn salts_are_the_committed_ones() {
    let whole = Secret::new(DRAWN);
    let salts = [0, 1, 64, 4_097, SEQ_MAX].map(|seq| {
        let secret = whole.since(seq).unwrap();
        let salts = secret.version_salts();
        let hash = InputHash::of(salts.input, &salts.effects.0);
        let refusal = AdmissionHash::of(secret.refusal_salt(3), &salts.admission.0);
        format!("{seq} {} {}", &hash.to_string()[..16], &refusal.to_string()[..16])
    });
    expect![[r#"
        0 93851862b984e2a1 49d3e4c2a18ea932
        1 4bab1066b4353481 4187832594382bc1
        64 8d8af293d01b7971 127ae498e20a8212
        4097 3c628d3669feb082 4a17058a2dbf46d7
        9223372036854775807 cd99143f50ff152c 459d4f5e3961a38a"#]]
    .assert_eq(&salts.join("\n"));
}

#[test]
fn a_secret_is_of_the_object_whose_genesis_it_salts() {
    let mut source = Source::new(3);
    let mut header = loop {
        let header = samples::header(&mut source);
        if header.seq == 0 {
            break header;
        }
    };
    let secret = Secret::new(DRAWN);
    assert!(!secret.is_of(&header));
    header.admission = Admission::default().hash(secret.version_salts().admission);
    assert!(secret.is_of(&header));
    assert!(!secret.since(1).unwrap().is_of(&header), "a part of it");
    assert!(!Secret::new([8; SECRET_BYTES]).is_of(&header), "another");
}

#[test]
fn a_secret_is_short_and_in_no_message() {
    let mut source = Source::random();
    for _ in 0..1_000 {
        assert!(samples::secret(&mut source).encode().len() <= SECRET_ENCODED_MAX);
    }
    let drawn: [u8; SECRET_BYTES] = array(&mut source);
    let secret = Secret::new(drawn).since(2).unwrap();
    assert_eq!(Secret::new(drawn).encode(), [&[0][..], &drawn].concat());
    assert_eq!(secret.encode().len(), 1 + 2 * SECRET_BYTES);
    assert_eq!(format!("{secret:?} {:?}", secret.version_salts().input), "Secret(from 2) Salt");
}
