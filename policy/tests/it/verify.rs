//! Whole lineages: an honest one holds, and one that is tampered with anywhere does not.
//!
//! - `amended`: policies that change.
//! - `deleted`: objects that end.
//! - `forks`: objects that begin as a version of another.
//! - `upgraded`: code that changes.
//! - `forged`: one part of one record forged, with all its hashes made to fit.

mod amended;
mod deleted;
mod forged;
mod forks;
mod upgraded;

use expect_test::expect;
use object::ErrorKind;
use object::commit::Commit;
use object::effects::{Effects, WakeChange};
use object::header::Header;
use object::input::{Input, Request};
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Tree};
use object::refusal::Refusal;
use object::time::Time;
use schema::Value;

use crate::module::STATE;
use crate::workshop::{Parts, Ran, Record, Workshop, batched, key, lineage, run};

/// The signed call, the signed write, the write without a signature, and the cycle of `lineage`.
const CALL: usize = 2;
const WRITE: usize = 1;
const SIGNED: usize = 3;
const CYCLE: usize = 7;
const LAST: usize = 9;

#[test]
fn an_honest_lineage_holds() {
    run(|| {
        let shop = lineage();
        let verifier = shop.verify(&shop.records).unwrap();
        assert_eq!(*verifier.head(), shop.head);
        assert_eq!((shop.head.header.seq, shop.head.refusal_count), (5, 4));
        let image = verifier.image();
        let read = |path: &str| {
            verifier.definition().schema.read(image, STATE, path).unwrap().to_json().to_string()
        };
        assert_eq!(
            (read("count"), read("spot")),
            ("14".into(), r#"{"row":7,"column":"\u0000"}"#.into())
        );
        assert_eq!(verifier.globals(), [7, 9]);
        assert_eq!(Tree::of(image).root(), shop.head.header.memory_root);
        assert_eq!(image.bytes_count(), 6 * PAGE_BYTES as u64);
    });
}

#[test]
fn an_input_of_a_batch_that_is_forged_is_refused() {
    run(|| {
        let shop = batched();
        assert_eq!(*shop.verify(&shop.records).unwrap().head(), shop.head);
        assert_eq!((shop.head.header.seq, shop.head.refusal_count), (3, 1));
        for at in 1..shop.records.len() {
            let mut records = shop.records[..=at].to_vec();
            let change = |input: &mut Input| {
                input.credential.as_mut().unwrap().signatures_mut()[0].bytes[9] ^= 1
            };
            match &mut records[at] {
                Record::Commit(parts) => {
                    change(&mut parts.input);
                }
                Record::Refusal(refusal) => {
                    let mut input = Input::decode(&refusal.input).unwrap();
                    change(&mut input);
                    refusal.input = input.encode();
                }
            }
            let before = records[..at].iter().filter(|it| it.is_refusal()).count();
            records[at].rehash(before);
            let error = shop.verify(&records).unwrap_err().to_string();
            assert!(error.contains("does not verify"), "{at}: {error}");
        }
    });
}

#[test]
fn every_prefix_of_a_lineage_holds() {
    run(|| {
        let shop = lineage();
        for end in 1..shop.records.len() {
            shop.verify(&shop.records[..end]).unwrap();
        }
    });
}

#[test]
fn a_record_that_is_left_out_twice_there_or_moved_is_refused() {
    run(|| {
        let shop = lineage();
        for at in 1..shop.records.len() {
            if at < shop.records.len() - 1 {
                let mut records = shop.records.clone();
                records.remove(at);
                assert!(shop.verify(&records).is_err(), "without {at}");
                let mut records = shop.records.clone();
                records.swap(at, at + 1);
                assert!(shop.verify(&records).is_err(), "{at} and the next swapped");
            }
            let mut records = shop.records.clone();
            records.insert(at, records[at].clone());
            assert!(shop.verify(&records).is_err(), "{at} twice");
            let mut records = shop.records.clone();
            records.insert(at, records[0].clone());
            assert!(shop.verify(&records).is_err(), "the genesis again at {at}");
        }
    });
}

#[test]
fn a_lineage_under_another_policy_code_or_base_is_refused() {
    run(|| {
        let shop = lineage();
        let error = |change: &dyn Fn(&mut Workshop)| {
            let mut other = lineage();
            change(&mut other);
            other.verify(&shop.records).unwrap_err().to_string()
        };
        use continuant_policy::definition::Definition;
        use object::image::BaseImage;
        let module = crate::module::module(crate::module::WIT, STATE);
        let policy = error(&|shop| {
            let text = "@id(\"all\") permit(principal, action, resource);";
            shop.genesis = Definition::new(&module, text).unwrap().into();
        });
        assert!(policy.starts_with("policy hash of version 0"), "{policy}");
        let code = error(&|shop| {
            let wit = format!("{} // another", crate::module::WIT);
            let module = crate::module::module(&wit, STATE);
            let text = shop.definition.policy.text().to_string();
            shop.genesis = Definition::new(&module, &text).unwrap().into();
        });
        assert!(code.starts_with("code hash of version 0"), "{code}");
        let base = error(&|shop| {
            let mut memory = [0; 4 * PAGE_BYTES];
            memory[2 * PAGE_BYTES] = 1;
            shop.base = BaseImage::new(&memory, vec![7, 8]).unwrap().into();
        });
        assert!(base.starts_with("memory root of version 0"), "{base}");
        let globals = error(&|shop| {
            shop.base = BaseImage::new(&[0; 4 * PAGE_BYTES], vec![7, 0]).unwrap().into();
        });
        assert!(globals.starts_with("globals hash of version 0"), "{globals}");
    });
}

/// Every field of every header, changed alone.
#[test]
fn a_header_that_differs_in_one_field_is_refused() {
    run(|| {
        let shop = lineage();
        let mut refused = 0;
        for at in [0, WRITE, CALL, SIGNED, CYCLE, LAST] {
            let Record::Commit(parts) = &shop.records[at] else { panic!("{at} is a commit") };
            let bytes = parts.header.encode();
            for byte in 0..bytes.len() {
                let mut changed = bytes;
                changed[byte] ^= 1;
                let Ok(header) = Header::decode(&changed) else { continue };
                // The rest of the lineage does not matter: the change is found where it is.
                let mut records = shop.records[..=at].to_vec();
                records[at] = Record::Commit(Box::new(Parts { header, ..(**parts).clone() }));
                let bytes = records[at].encode();
                if Commit::decode(&bytes).is_err() {
                    continue;
                }
                let verified = shop.verify(&records);
                // Neither fuel nor instrumentation can be recomputed without running the code, and
                // no later version follows the last one to contradict it.
                let replayed = (4..8).contains(&byte) || (32..40).contains(&byte);
                let policed = at == WRITE || at == SIGNED || at == LAST;
                if replayed && !(policed && byte >= 32) {
                    verified.unwrap();
                    continue;
                }
                let error = verified.expect_err(&format!("byte {byte} of the header of {at}"));
                let mismatch = matches!(error.kind(), ErrorKind::Mismatch { .. });
                let limit = matches!(error.kind(), ErrorKind::Limit { .. });
                assert!(mismatch || limit, "{error}");
                refused += 1;
            }
        }
        assert!(refused > 2000, "{refused}");
    });
}

/// Regression: a header stored no wake as the last moment that there is, so a step that asks for
/// a wake then made a header that was not the one decoded.
#[test]
fn a_wake_at_the_end_of_time_is_one() {
    run(|| {
        let mut shop = Workshop::new();
        let mut ran = shop.counted(1);
        ran.effects.wake = WakeChange::Set(Time::MAX);
        shop.step(shop.add(1), ran).unwrap();
        assert_eq!(shop.head.header.wake, Some(Time::MAX));
        shop.verify(&shop.records).unwrap();
    });
}

/// Regression: globals of another number than the module has would have been taken in.
#[test]
fn globals_of_another_number_are_refused() {
    run(|| {
        let mut shop = Workshop::new();
        let ran = Ran { globals: Some(vec![1, 2, 3]), ..shop.counted(1) };
        shop.step(shop.add(1), ran).unwrap();
        let error = shop.verify(&shop.records).unwrap_err().to_string();
        expect!["globals of version 1: expected 2, found 3"].assert_eq(&error);
    });
}

#[test]
fn random_damage_to_a_lineage_is_refused_without_a_panic() {
    run(|| {
        let mut source = crate::source::Source::random();
        let shop = lineage();
        for _ in 0..400 {
            // All but the last, which no other names.
            let at = source.below(shop.records.len() - 1);
            let mut bytes = shop.records[at].encode();
            for _ in 0..1 + source.below(3) {
                let near = source.below(bytes.len().min(1200));
                bytes[near] ^= 1 << source.below(8);
            }
            let changed = match &shop.records[at] {
                Record::Commit(_) => Record::commit(&bytes),
                Record::Refusal(_) => Refusal::decode(&bytes).map(Record::Refusal),
            };
            let Ok(changed) = changed else { continue };
            let mut records = shop.records.clone();
            if changed.encode() == records[at].encode() {
                continue;
            }
            records[at] = changed;
            assert!(shop.verify(&records).is_err(), "record {at}");
        }
    });
}

#[test]
fn a_long_lineage_of_random_writes_holds() {
    run(|| {
        let mut source = crate::source::Source::random();
        let mut shop = Workshop::new();
        for nonce in 1..120 {
            let field = match source.below(4) {
                0 => shop.field("count", source.below(1000) as u64),
                1 => shop.field("heat", f32::from_bits(source.bits() as u32)),
                2 => shop.field("locked", source.below(2) == 0),
                _ => shop.field("next", Value::Option(Some(Box::new(Value::U32(7))))),
            };
            let input = shop.input(Request::Write { fields: vec![field] });
            let signer = key(1 + source.below(3) as u8);
            let input = match source.below(3) {
                0 => input,
                _ => shop.sign(input, nonce, &[&signer]),
            };
            let _ = shop.step(input, Ran { effects: Effects::default(), ..Ran::default() });
        }
        let verifier = shop.verify(&shop.records).unwrap();
        assert_eq!(*verifier.head(), shop.head);
        assert!(shop.head.header.seq > 20);
    });
}
