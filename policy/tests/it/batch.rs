//! Batches: every input of one verifies alone, at its own place only, and a signature over one
//! batch is never valid for another.

use std::time::Duration;

use expect_test::expect;
use object::authentication::authenticate;
use object::credential::{
    Batch, Credential, Host, Memo, Place, Proof, PublicKey, Signature, SigningKey,
    batch_signed_bytes,
};
use object::hash::{BatchRoot, ObjectId, VersionHash};
use object::input::{Input, Request};
use object::ledger::Tracked;
use object::limits::BATCH_INPUTS_MAX;
use object::refusal::{Reason, Verdict};
use object::time::Time;
use object::{ErrorKind, Result};

use crate::samples;
use crate::source::Source;
use crate::workshop::{Ran, Workshop, key, run};

/// An input of a batch, with its object.
#[derive(Clone)]
struct Member {
    object: ObjectId,
    request: Request,
    credential: Credential,
}

impl Member {
    fn verify(&self, memo: &Memo) -> Result<Vec<PublicKey>> {
        self.credential.verify(self.object, &self.request, memo)
    }

    fn place(&self) -> &Place {
        match &self.credential.proof {
            Proof::Batch(place, _) => place,
            _ => panic!("it is of a batch"),
        }
    }
}

/// Inputs of random objects, signed together.
fn batch(source: &mut Source, count: usize, keys: &[SigningKey]) -> Vec<Member> {
    let inputs: Vec<_> = (0..count)
        .map(|_| {
            let credential = samples::credential(source);
            (ObjectId(samples::array(source)), samples::request(source), credential)
        })
        .collect();
    let mut batch = Batch::new();
    for (object, request, credential) in &inputs {
        batch.push(*object, request, credential.clone());
    }
    let credentials = batch.sign(&keys.iter().collect::<Vec<_>>()).unwrap();
    let members = inputs.into_iter().zip(credentials);
    members
        .map(|((object, request, _), credential)| Member { object, request, credential })
        .collect()
}

/// The leaf of an input, by the words of the format.
fn leaf(member: &Member) -> [u8; 32] {
    let Credential { nonce, expires, parent, .. } = member.credential;
    let signed = member.request.signed_bytes(member.object, nonce, expires, parent);
    // Behind `DSSEv1`, the type's length, the type and the body's length.
    let body = signed.splitn(5, |byte| *byte == b' ').nth(4).unwrap();
    blake3::derive_key("continuant 2 batch leaf", body)
}

/// Returns the root over leaves, from the top down: over the leaves left of the largest power of
/// two below their number, and the rest.
fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    blake3::derive_key("continuant 2 batch node", &[root(left), root(right)].concat())
}

#[test]
fn every_input_of_a_batch_leads_to_the_root_over_all() {
    let mut source = Source::random();
    for count in (1..=40).chain([63, 64, 65, 100, 127, 128, 129]) {
        let members = batch(&mut source, count, &[key(1)]);
        let leaves: Vec<[u8; 32]> = members.iter().map(leaf).collect();
        let expected = root(&leaves);
        for (index, member) in members.iter().enumerate() {
            let place = member.place();
            assert_eq!((place.index(), place.count()), (index as u32, count as u32));
            let found = place.root(object::hash::LeafHash(leaves[index]));
            assert_eq!(found, BatchRoot(expected), "{index} of {count}");
            assert_eq!(member.verify(&Memo::default()).unwrap(), [key(1).public()]);
            let input = Input {
                request: member.request.clone(),
                time: Time::from_millis(1),
                credential: Some(member.credential.clone()),
            };
            input.validate().unwrap();
            assert_eq!(Input::decode(&input.encode()).unwrap(), input);
        }
    }
}

#[test]
fn several_keys_sign_a_batch_and_come_in_ascending_order() {
    let mut source = Source::random();
    let keys = [key(3), key(1), key(2), key(1)];
    let mut expected: Vec<PublicKey> = keys[..3].iter().map(SigningKey::public).collect();
    expected.sort();
    for member in batch(&mut source, 5, &keys) {
        assert_eq!(member.verify(&Memo::default()).unwrap(), expected);
    }
    // One that signs later signs the same.
    let mut first = batch(&mut source, 5, &[key(1), key(2)]).remove(0);
    first.credential.sign(&key(3), first.object, &first.request);
    assert_eq!(first.verify(&Memo::default()).unwrap(), expected);
}

#[test]
fn an_empty_batch_is_nothing_and_a_batch_without_a_key_verifies_nothing() {
    assert_eq!(Batch::new().sign(&[&key(1)]).unwrap(), []);
    let member = batch(&mut Source::new(1), 2, &[]).remove(0);
    let error = member.verify(&Memo::default()).unwrap_err();
    expect!["credential: no signature"].assert_eq(&error.to_string());
}

#[test]
fn a_batch_is_bounded() {
    let request = Request::Call { method: "m".into(), arguments: vec![] };
    let of = |count: usize| {
        let mut batch = Batch::new();
        for nonce in 0..count as u64 {
            batch.push(ObjectId([1; 32]), &request, Credential::new(nonce, Time::from_millis(9)));
        }
        batch.sign(&[&key(1)])
    };
    let credentials = of(BATCH_INPUTS_MAX).unwrap();
    for at in [0, 1, 77, BATCH_INPUTS_MAX - 1] {
        credentials[at].verify(ObjectId([1; 32]), &request, &Memo::default()).unwrap();
        let Proof::Batch(place, _) = &credentials[at].proof else { panic!("it is of a batch") };
        assert_eq!(place.path().len(), 16);
    }
    let error = of(BATCH_INPUTS_MAX + 1).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { max: 65_536, found: 65_537, .. }));
}

#[test]
fn a_place_is_one_that_a_batch_has() {
    let path = |steps: usize| vec![BatchRoot([1; 32]); steps];
    for (index, count, steps) in [(0, 1, 0), (0, 2, 1), (4, 5, 1), (3, 5, 3), (6, 7, 2)] {
        for given in 0..20 {
            let place = Place::new(index, count, path(given));
            assert_eq!(place.is_some(), given == steps, "{index} of {count} by {given}");
        }
    }
    let most = BATCH_INPUTS_MAX as u32;
    assert!(Place::new(most - 1, most, path(16)).is_some());
    assert!(Place::new(most, most + 1, path(1)).is_none());
    assert!((0..40).all(|steps| Place::new(u32::MAX - 1, u32::MAX, path(steps)).is_none()));
    assert!((0..40).all(|steps| Place::new(0, 0, path(steps)).is_none()));
    assert!((0..40).all(|steps| Place::new(3, 3, path(steps)).is_none()));
}

/// Everything that is signed, and everything that leads to it.
#[test]
fn a_signature_over_a_batch_is_bound_to_all_that_is_in_it() {
    let mut source = Source::random();
    let members = batch(&mut source, 6, &[key(1)]);
    let memo = Memo::default();
    for member in &members {
        member.verify(&memo).unwrap();
    }
    let check = |what: &str, member: &Member| {
        let error = member.verify(&memo).expect_err(what);
        assert!(matches!(error.kind(), ErrorKind::Credential(_)), "{what}: {error}");
        assert_eq!(member.verify(&Memo::default()), Err(error), "{what}");
    };
    for (at, member) in members.iter().enumerate() {
        let changed = |what: &str, change: &dyn Fn(&mut Member)| {
            let mut member = member.clone();
            change(&mut member);
            check(what, &member);
        };
        changed("object", &|it| it.object.0[9] ^= 1);
        changed("request", &|it| {
            it.request = Request::Call { method: "other".into(), arguments: vec![] };
        });
        changed("nonce", &|it| it.credential.nonce ^= 1);
        changed("expiry", &|it| {
            it.credential.expires = it.credential.expires.saturating_add(Duration::from_millis(1))
        });
        changed("parent", &|it| it.credential.parent = Some(VersionHash([7; 32])));
        changed("key", &|it| it.credential.signatures_mut()[0].key = key(2).public().0);
        for byte in 0..64 {
            changed("signature", &|it| it.credential.signatures_mut()[0].bytes[byte] ^= 1);
        }
        let signed = member.credential.signatures().to_vec();
        let placed = |index: u32, count: u32, path: &[BatchRoot]| {
            let place = Place::new(index, count, path.to_vec())?;
            let mut member = member.clone();
            member.credential.proof = Proof::Batch(place, signed.clone());
            Some(member)
        };
        let place = member.place();
        for step in 0..place.path().len() {
            let mut path = place.path().to_vec();
            path[step].0[5] ^= 1;
            check("path", &placed(place.index(), place.count(), &path).unwrap());
        }
        for count in 1..20 {
            for index in 0..count {
                if (index, count) != (at as u32, 6)
                    && let Some(member) = placed(index, count, place.path())
                {
                    check("place", &member);
                }
            }
        }
        // The signatures of the input alone, or of a batch of it alone.
        changed("alone", &|it| it.credential.proof = Proof::Signatures(signed.clone()));
        check("a batch of one", &placed(0, 1, &[]).unwrap());
    }
}

/// A tree that pairs a last node with itself has the same root for two batches, and one that hashes
/// leaves as it hashes nodes takes a node for a leaf.
#[test]
fn no_two_batches_have_the_same_signed_bytes() {
    let mut source = Source::random();
    let members = batch(&mut source, 3, &[key(1)]);
    let leaves: Vec<[u8; 32]> = members.iter().map(leaf).collect();
    let [one, two, three] = leaves[..] else { panic!("three leaves") };
    let signed =
        |leaves: &[[u8; 32]]| batch_signed_bytes(BatchRoot(root(leaves)), leaves.len() as u32);
    let pair = root(&[one, two]);
    let all = [
        signed(&[one]),
        signed(&[one, two]),
        signed(&[two, one]),
        signed(&[one, two, three]),
        signed(&[one, two, three, three]),
        signed(&[one, one]),
        signed(&[pair, three]),
        signed(&[pair]),
    ];
    for (at, bytes) in all.iter().enumerate() {
        assert!(!all[..at].contains(bytes), "{at}");
    }
}

#[test]
fn what_was_verified_is_not_taken_for_anything_else() {
    let mut source = Source::random();
    let memo = Memo::default();
    let (one, two) = (key(1), key(2));
    // Many more batches than a memo has places.
    for round in 0..600 {
        let members = batch(&mut source, 2, &[one.clone(), two.clone()]);
        assert_eq!(members[0].verify(&memo).unwrap().len(), 2);
        assert_eq!(members[1].verify(&memo).unwrap().len(), 2);
        let mut fewer = members[0].clone();
        fewer.credential.signatures_mut().pop();
        assert_eq!(fewer.verify(&memo).unwrap().len(), 1);
        let mut forged = members[1].clone();
        forged.credential.signatures_mut()[round % 2].bytes[round % 64] ^= 1;
        assert_eq!(forged.verify(&memo), forged.verify(&Memo::default()));
        forged.verify(&memo).unwrap_err();
        let mut twice = members[0].clone();
        let again = twice.credential.signatures_mut()[0];
        twice.credential.signatures_mut().push(again);
        twice.verify(&memo).unwrap_err();
    }
}

/// The points of small order, with a signature that holds for many messages under plain
/// verification: see `admission`.
#[test]
fn a_weak_key_signs_no_batch() {
    let mut source = Source::random();
    for weak in crate::admission::weak_keys() {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        for _ in 0..16 {
            let mut member = batch(&mut source, 3, &[key(1)]).remove(1);
            *member.credential.signatures_mut() = vec![Signature { key: weak, bytes }];
            let error = member.verify(&Memo::default()).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Credential(_)), "{error}");
            // A weak key fails beside another key, too.
            let mut both = batch(&mut source, 3, &[key(1)]).remove(1);
            both.credential.signatures_mut().push(Signature { key: weak, bytes });
            both.credential.signatures_mut().sort_by_key(|signature| signature.key);
            both.verify(&Memo::default()).unwrap_err();
        }
    }
}

/// An object and a batch of inputs for it.
fn shop(nonces: &[u64]) -> (Workshop, Vec<Input>) {
    let shop = Workshop::new();
    let mut batch = Batch::new();
    let mut inputs = Vec::new();
    for (at, &nonce) in nonces.iter().enumerate() {
        let mut input = shop.add(at as u64);
        input.time = input.time.saturating_add(Duration::from_millis(1000 * at as u64));
        batch.push(
            shop.head.id,
            &input.request,
            Credential::new(nonce, input.time.saturating_add(Duration::from_millis(5))),
        );
        inputs.push(input);
    }
    let credentials = batch.sign(&[&key(1)]).unwrap();
    for (input, credential) in inputs.iter_mut().zip(credentials) {
        input.credential = Some(credential);
    }
    (shop, inputs)
}

#[test]
fn an_input_of_a_batch_is_admitted_once_in_order_and_in_time() {
    run(|| {
        let (mut shop, inputs) = shop(&[5, 6, 6, 4, 9]);
        let reasons = inputs.iter().map(|input| {
            shop.step(input.clone(), Ran::default()).err().map(|verdict| verdict.reason)
        });
        let reasons: Vec<_> = reasons.collect();
        assert_eq!(reasons, [None, None, Some(Reason::Replayed), Some(Reason::Reordered), None]);
        let reason = |shop: &Workshop, input: &Input| {
            let found: Result<_, Verdict> =
                authenticate(&shop.head, Tracked::NONE, input, Host::verifier(&Memo::default()));
            found.unwrap_err().reason
        };
        assert_eq!(reason(&shop, &inputs[4]), Reason::Replayed);
        let mut late = inputs[4].clone();
        late.time = late.time.saturating_add(Duration::from_millis(6));
        assert_eq!(reason(&shop, &late), Reason::Expired);
        let mut other = shop.head.clone();
        other.id = ObjectId([1; 32]);
        let verdict =
            authenticate(&other, Tracked::NONE, &inputs[0], Host::verifier(&Memo::default()))
                .unwrap_err();
        assert_eq!(verdict.reason, Reason::Credential);
        shop.verify(&shop.records).unwrap();
    });
}
