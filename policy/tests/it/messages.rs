//! Messages: their principal, their facts in rules, and their cost.

use object::effects::Effects;
use object::hash::{CodeHash, ObjectId};
use object::input::Request;
use object::limits::{EFFECTS_BYTES_MAX, FUEL_MAX, MESSAGES_MAX};
use object::message::{Message, Origin, fuel_share};
use object::refusal::Reason;

use crate::workshop::{Workshop, key, kin, message, run};

#[test]
fn the_sender_is_the_principal_and_rules_see_its_code_and_policy() {
    run(|| {
        let mut shop = Workshop::governed_by(&kin());
        shop.step(message(&shop, 2), shop.counted(2)).unwrap();
        let change = |shop: &Workshop, change: fn(&mut Origin)| {
            let mut input = message(shop, 2);
            let Request::Message { origin, .. } = &mut input.request else { unreachable!() };
            change(origin);
            input
        };
        let other = change(&shop, |origin| origin.code = CodeHash([1; 32]));
        let refused = shop.step(other, shop.counted(4)).unwrap_err();
        assert_eq!(refused.reason, Reason::NotPermitted);
        let fork = change(&shop, |origin| origin.first_policy = None);
        let refused = shop.step(fork, shop.counted(4)).unwrap_err();
        assert_eq!(refused.reason, Reason::NotPermitted);
        // Nobody is the sender of a call.
        let refused = shop.step(shop.add(2), shop.counted(4)).unwrap_err();
        assert_eq!(refused.reason, Reason::NotPermitted);
        let signed = shop.sign(shop.add(2), 1, &[&key(1)]);
        shop.step(signed, shop.counted(4)).unwrap();
    });
}

#[test]
fn a_message_carries_no_credential() {
    run(|| {
        let mut shop = Workshop::governed_by(&kin());
        let signed = shop.sign(message(&shop, 2), 1, &[&key(1)]);
        let refused = shop.step(signed, shop.counted(2)).unwrap_err();
        assert_eq!(refused.reason, Reason::Credential);
    });
}

#[test]
fn rules_see_to_whom_messages_go() {
    run(|| {
        let mut shop = Workshop::governed_by(&kin());
        let to = |to: u8| Message {
            to: ObjectId([to; 32]),
            method: "add".to_string(),
            arguments: Vec::new(),
        };
        let mut ran = shop.counted(2);
        ran.effects.messages = vec![to(2), to(1), to(3)];
        let refused = shop.step(message(&shop, 2), ran.clone()).unwrap_err();
        assert_eq!(
            (refused.reason, &refused.rules[..]),
            (Reason::Forbidden, &["to-friends".into()][..])
        );
        ran.effects.messages.pop();
        shop.step(message(&shop, 2), ran).unwrap();
    });
}

#[test]
fn messages_share_what_fuel_the_step_left() {
    assert_eq!(fuel_share(FUEL_MAX, 0, 1), FUEL_MAX);
    assert_eq!(fuel_share(1000, 400, 7), 85);
    assert_eq!(fuel_share(1000, 1000, 2), 0);
    assert_eq!(fuel_share(1000, 1001, 2), 0, "what cannot be is not taken for much");
}

#[test]
fn effects_have_messages_within_their_limits() {
    let message = |bytes: usize| Message {
        to: ObjectId([1; 32]),
        method: "m".to_string(),
        arguments: vec![0; bytes],
    };
    let with = |messages: Vec<Message>| Effects { messages, ..Effects::default() };
    let holds = |effects: Effects| Effects::decode(&effects.encode()).is_ok_and(|it| it == effects);
    assert!(holds(with(vec![message(0); MESSAGES_MAX])));
    assert!(!holds(with(vec![message(0); MESSAGES_MAX + 1])));
    assert!(holds(with(vec![message(EFFECTS_BYTES_MAX - 1)])));
    assert!(!holds(with(vec![message(EFFECTS_BYTES_MAX)])));
    assert!(!holds(with(vec![message(EFFECTS_BYTES_MAX / 2); 2])), "together");
}
