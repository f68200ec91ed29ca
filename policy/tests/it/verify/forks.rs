//! Forks: the verifier's comparison with the original version.

use std::sync::Arc;
use std::time::Duration;

use continuant_policy::verify::Verifier;
use object::Result;
use object::commit::Commit;
use object::effects::{Admission, Effects, WakeChange, encode_globals, globals_hash};
use object::hash::{MemoryRoot, PolicyHash};
use object::head::{Outcome, genesis};
use object::header::Header;
use object::input::{Input, Request};
use object::memory::{Memory, Tree};
use object::refusal::{Reason, Verdict};

use crate::workshop::{Workshop, lineage, run, secret};

/// A fork of the newest version of a lineage, with `of` for its header and these effects.
fn fork(shop: &Workshop, of: &Header, effects: &Effects, late: u64) -> Result<Verifier> {
    let request = Request::Fork { of: Box::new(of.clone()) };
    let input = Input {
        request,
        time: shop.head.header.time.saturating_add(Duration::from_millis(late)),
        credential: None,
    };
    let pages: Vec<_> = shop.image.changed_pages().to_vec();
    let outcome = Outcome {
        effects,
        instrumentation: 1,
        fuel: 0,
        memory_bytes: shop.image.bytes_count(),
        memory_root: Tree::of(&shop.image).root(),
        page_count: pages.len() as u32,
        globals: globals_hash(&shop.globals),
        parts: shop.definition.parts(),
        tracked: shop.definition.policy.tracked(),
    };
    let commit = Commit {
        header: genesis(&input, &outcome, &secret()),
        input: &input.encode(),
        effects: &effects.encode(),
        admission: &Admission::default().encode(),
        globals: Some(&encode_globals(&shop.globals)),
        pages: pages.iter().map(|(index, page)| (*index, &**page)).collect(),
    };
    let (definition, base) = (Arc::clone(&shop.definition), Arc::clone(shop.image.base()));
    Verifier::genesis(definition, base, &commit, secret())
}

#[test]
fn a_fork_is_as_its_header_says() {
    run(|| {
        let shop = lineage();
        let of = &*shop.head.header;
        let wake = Effects::of_fork(of);
        fork(&shop, of, &wake, 0).unwrap();
        fork(&shop, of, &wake, 1000).unwrap();
        let refuted = |what: &str, change: &dyn Fn(&mut Header)| {
            let mut other = of.clone();
            change(&mut other);
            let wake = Effects::of_fork(&other);
            assert!(fork(&shop, &other, &wake, 0).is_err(), "{what}");
        };
        refuted("another memory", &|it| it.memory_root = MemoryRoot([1; 32]));
        refuted("a longer memory", &|it| it.memory_bytes += 65_536);
        refuted("other globals", &|it| it.globals.0[0] ^= 1);
        refuted("other code", &|it| it.code.0[0] ^= 1);
        refuted("another schema", &|it| it.schema.0[0] ^= 1);
        refuted("another policy", &|it| it.policy = PolicyHash([1; 32]));
        refuted("a later version", &|it| {
            it.time = it.time.saturating_add(Duration::from_millis(1))
        });
        let mut other = of.clone();
        other.wake = Some(of.time.saturating_add(Duration::from_millis(9)));
        assert!(fork(&shop, &other, &wake, 0).is_err(), "no wake of the version's");
        fork(&shop, &other, &Effects::of_fork(&other), 0).unwrap();
        fork(&shop, &other, &Effects::of_fork_without_wake(&other), 0).unwrap();
        let later = Effects {
            wake: WakeChange::Set(of.time.saturating_add(Duration::from_millis(10))),
            ..Effects::default()
        };
        assert!(fork(&shop, &other, &later, 0).is_err(), "a later wake");
        let more = Effects { result: vec![1], ..wake.clone() };
        assert!(fork(&shop, of, &more, 0).is_err(), "a result");
        let more = Effects { wake: WakeChange::Clear, ..wake };
        assert!(fork(&shop, of, &more, 0).is_err(), "another change of the wake");
    });
}

#[test]
fn a_fork_is_a_beginning_and_nothing_else() {
    run(|| {
        let shop = lineage();
        let of = Box::new(Header::clone(&shop.head.header));
        let verifier = shop.verify(&shop.records).unwrap();
        let refused = |request: Request| {
            let verdict = Verdict::native(Reason::Trap, "");
            let refusal = shop.head.refusal(&shop.input(request), verdict);
            verifier.clone().refusal(&refusal)
        };
        refused(shop.add(1).request).unwrap();
        assert!(refused(Request::Fork { of }).is_err());
    });
}
