//! Lineages in which the policy changes, and what an amendment may not do beside that.

use continuant_policy::{Law, Policy};
use object::effects::Output;
use object::input::{Input, Request};
use object::limits::PAGE_BYTES;
use object::refusal::Reason;
use schema::Schema;

use crate::module::WIT;
use crate::workshop::{POLICY, Parts, Ran, Record, Workshop, key, run};

/// The workshop's policy, with a limit of its own, which the holder of a key may change.
fn amendable(limit: u64) -> String {
    let owner = key(1).public();
    let limited = POLICY.replace("> 1000", &format!("> {limit}"));
    format!(
        r#"{limited}
        @id("owner") permit(principal == Key::"{owner}", action == Action::"amend", resource);"#
    )
}

fn amendment(shop: &Workshop, limit: u64) -> Input {
    let schema = Schema::parse(WIT).unwrap();
    let policy = Policy::parse(&amendable(limit), &schema).unwrap().encode();
    shop.sign(shop.input(Request::Amend { policy }), limit, &[&key(1)])
}

/// A creation, an amendment to 20, and a step that takes the count to 15.
fn amended() -> Workshop {
    let mut shop = Workshop::governed_by(&amendable(10));
    let ran = shop.counted(15);
    let refused = shop.step(shop.add(15), ran.clone()).unwrap_err();
    assert_eq!(refused.reason, Reason::Forbidden);
    shop.step(amendment(&shop, 20), Ran::default()).unwrap();
    shop.step(shop.add(15), ran).unwrap();
    shop
}

#[test]
fn the_policy_that_decides_is_the_one_before() {
    run(|| {
        let mut shop = amended();
        let records = shop.records.clone();
        shop.verify(&records).unwrap();
        let ran = shop.counted(21);
        assert_eq!(shop.step(shop.add(21), ran).unwrap_err().reason, Reason::Forbidden);
        let unsigned = Input { credential: None, ..amendment(&shop, 30) };
        let refused = shop.step(unsigned, Ran::default()).unwrap_err();
        assert_eq!(refused.reason, Reason::NotPermitted);
        shop.verify(&shop.records).unwrap();
        // Without the amendment, the versions after it are not admitted.
        let without: Vec<Record> = [0, 1, 3].map(|index| records[index].clone()).to_vec();
        assert!(shop.verify(&without).is_err());
    });
}

#[test]
fn a_lineage_under_a_policy_that_is_no_longer_taken_verifies() {
    run(|| {
        // A ban that a second signature evades, of a key in upper case, and a rule that is dead.
        let banned = |limit| {
            let ban = r#"@id("ban") forbid(principal == Key::"ABC", action, resource);
                @id("dead") forbid(principal, action, resource) when { context has limit };"#;
            format!("{}\n{ban}", amendable(limit))
        };
        let schema = Schema::parse(WIT).unwrap();
        let policy = Policy::decode(&Law::from(&banned(20)).encode(), &schema).unwrap();
        policy.validate().unwrap_err();
        let mut shop = Workshop::governed_by(&banned(10));
        shop.definition.policy.validate().unwrap_err();
        let ran = shop.counted(15);
        shop.step(shop.add(15), ran.clone()).unwrap_err();
        let request = Request::Amend { policy: policy.encode() };
        let amendment = shop.sign(shop.input(request), 1, &[&key(1)]);
        shop.step(amendment, Ran::default()).unwrap();
        shop.step(shop.add(15), ran).unwrap();
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn an_amendment_that_does_more_or_something_else_is_refused() {
    let forge = |what: &str, forge: &dyn Fn(&mut Parts)| {
        let shop = amended();
        let mut records = shop.records[..=2].to_vec();
        let Record::Commit(parts) = &mut records[2] else { panic!("the amendment is a commit") };
        forge(parts);
        parts.rehash();
        parts.header.page_count = parts.pages.len() as u32;
        assert!(shop.verify(&records).is_err(), "{what}");
    };
    let output = Output { name: "a".to_string(), payload: Vec::new() };
    let request = |policy: &str| {
        let schema = Schema::parse(WIT).unwrap();
        Request::Amend { policy: Policy::parse(policy, &schema).unwrap().encode() }
    };
    run(|| {
        forge("a page", &|parts| parts.pages.push((2, [1; PAGE_BYTES])));
        forge("memory", &|parts| parts.header.memory_bytes += PAGE_BYTES as u64);
        forge("globals", &|parts| parts.globals = Some(vec![7, 9]));
        forge("effects", &|parts| parts.effects.outputs.push(output.clone()));
        forge("fuel", &|parts| parts.header.fuel = 1);
        forge("another policy", &|parts| parts.input.request = request(&amendable(21)));
        forge("no policy", &|parts| parts.input.request = Request::Amend { policy: vec![1] });
        forge("no signature", &|parts| parts.input.credential = None);
        forge("the hash of another", &|parts| {
            parts.header.policy = object::hash::PolicyHash::of(b"another");
        });
        forge("the policy before", &|parts| {
            parts.header.policy = Policy::hash_of(&amendable(10));
        });
        forge("the kind", &|parts| parts.header.kind = object::header::Kind::Write);
    });
}
