//! Definitions: a module's code and schema, and a policy, held against each other.

use continuant_policy::definition::Definition;
use object::ErrorKind;
use object::hash::CodeHash;

use crate::module::{WIT, module};
use crate::source::Source;
use crate::workshop::{POLICY, run};

#[test]
fn a_definition_is_its_code_its_schema_and_its_policy() {
    run(|| {
        let wasm = module(WIT, 4096);
        let made = Definition::new(&wasm, POLICY).unwrap();
        let again = Definition::decode(&wasm, &made.policy.encode()).unwrap();
        assert_eq!(made.parts(), again.parts());
        assert_eq!(made.parts().code, CodeHash::of(&wasm));
        let wrong = |wasm: &[u8], policy: &str| Definition::new(wasm, policy).unwrap_err();
        let fault = wrong(&module("package a:b;", 4096), POLICY);
        assert!(matches!(fault.kind(), ErrorKind::Schema(_)), "{fault}");
        let fault = wrong(&wasm, "permit(principal, action, resource);");
        assert!(matches!(fault.kind(), ErrorKind::Policy(_)), "{fault}");
        let fault = wrong(&wasm[..40], POLICY);
        assert!(matches!(fault.kind(), ErrorKind::Decode { .. }), "{fault}");
        let mut source = Source::random();
        let policy = made.policy.encode();
        for _ in 0..200 {
            let (mut wasm, mut policy) = (wasm.clone(), policy.clone());
            let at = source.below(wasm.len());
            wasm[at] ^= 1 << source.below(8);
            let at = source.below(policy.len());
            policy[at] ^= 1 << source.below(8);
            let _ = Definition::decode(&wasm, &made.policy.encode());
            let _ = Definition::decode(&module(WIT, 4096), &policy);
        }
    });
}
