//! States in memory as rules see them: only the parts that the rules read, with the same decision
//! as by the whole states.

use std::sync::Arc;

use continuant_policy::admission::{Step, admit};
use continuant_policy::definition::Definition;
use continuant_policy::guard::NotAsked;
use continuant_policy::{Decision, STACK_BYTES, Values};
use object::effects::Effects;
use object::head::Head;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::limits::{POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX};
use schema::{Type, Value};
use serde_json::json;

use super::{facts, on_stack};
use crate::generate::{Arena, value};
use crate::module::module;
use crate::source::Source;
use crate::workshop::Workshop;

const WIT: &str = "package a:b; interface i {
    enum light { red, green }
    flags needs { fuel, ice }
    record inner { unseen: list<list<u32>>, deep: option<u8>, names: list<string> }
    record state {
        unread: list<inner>, flag: bool, count: s32, name: string, log: list<u8>, light: light,
        needs: needs, marks: list<char>, inner: inner, maybe: option<inner>,
        far: option<string>, skipped: tuple<u8, f64>,
    }
}";

/// Reads something of every shape, in both states.
const POLICY: &str = r#"
@id("all") permit(principal, action, resource);
@id("flag") forbid(principal, action, resource) when { context.before.flag };
@id("count") forbid(principal, action, resource)
when { context.after.count > 1000000 && context.before.count < 5 };
@id("name") forbid(principal, action, resource)
when { context.after.name like "*a*" || context.before.log like "*00*" };
@id("sets") forbid(principal, action, resource)
when { context.after.needs.contains("ice") && context.after.marks.contains("k") };
@id("light") forbid(principal, action, resource)
when { context.before.light == "green" && context.after.inner.names.contains("") };
@id("deep") forbid(principal, action, resource)
when { context.after has maybe && context.after.maybe has deep && context.after.maybe.deep > 9 };
@id("far") forbid(principal, action, resource)
when { context.before has far && context.before.far != context.after.name };
"#;

/// The definition, and a head to decide on, which the rules do not look at.
fn object(policy: &str) -> (Definition, Head) {
    let definition = Definition::new(&module(WIT, 0), policy).unwrap();
    (definition, Workshop::new().head)
}

/// The state in a memory of its own, at address 0.
fn memory(definition: &Definition, state: &Value) -> Vec<u8> {
    let mut arena = Arena::new(0);
    assert_eq!(arena.place_state(state.clone(), definition.schema.state()), 0);
    arena.image
}

fn image(memory: &[u8]) -> Image {
    Image::new(Arc::new(BaseImage::new(memory, vec![]).unwrap()))
}

/// Returns the verdict of `admit`, and the policy's decision on the whole states.
fn both(object: &(Definition, Head), before: &Value, after: &Value) -> (String, String) {
    let (definition, head) = object;
    let images = [before, after].map(|state| image(&memory(definition, state)));
    let request = Request::Write { fields: vec![] };
    let input = Input { request, time: head.header.time, credential: None };
    let effects = Effects::default();
    let step = Step {
        input: &input,
        before: &images[0],
        after: &images[1],
        effects: &effects,
        fuel: 0,
        page_count: 0,
        instrumentation: 1,
        policy: definition.policy.hash(),
    };
    let admitted = match admit(definition, head, Vec::new(), step, &mut NotAsked) {
        Ok(admission) => format!("permit {:?}", admission.rules),
        Err(verdict) => format!("refuse {:?}", verdict.rules),
    };
    let values = Values { before, after, input: &[] };
    let whole = match definition.policy.decide(&facts("write"), &values) {
        Decision::Permit { rules } => format!("permit {rules:?}"),
        Decision::Refuse { rules, .. } => format!("refuse {rules:?}"),
    };
    (admitted, whole)
}

#[test]
fn rules_decide_on_what_they_are_shown_as_on_the_whole() {
    on_stack(STACK_BYTES, || {
        let mut source = Source::random();
        let object = object(POLICY);
        let ty = Type::Record(object.0.schema.state().clone().into());
        let mut refused = 0;
        for _ in 0..400 {
            let [before, after] = [(); 2].map(|()| value(&mut source, &ty));
            let (admitted, whole) = both(&object, &before, &after);
            assert_eq!(admitted, whole, "{} {}", before.to_json(), after.to_json());
            refused += usize::from(whole.starts_with("refuse"));
        }
        assert!((50..400).contains(&refused), "{refused} refused");
    });
}

/// Regression: to decide on a step, its whole states were read, which may be sixteen mebibytes of
/// lists each, and many times that as values.
#[test]
fn what_no_rule_reads_may_be_long_and_what_one_reads_may_not() {
    on_stack(STACK_BYTES, || {
        let object = object(POLICY);
        let ty = Type::Record(object.0.schema.state().clone().into());
        let state = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut json = json!({
                "unread": [], "flag": false, "count": 1, "name": "", "log": "", "light": "red",
                "needs": [], "marks": [], "inner": { "unseen": [], "names": [] },
                "skipped": [0, 0.0],
            });
            change(&mut json);
            Value::from_json(&json, &ty).unwrap()
        };
        let check = |permitted: bool, change: &dyn Fn(&mut serde_json::Value)| {
            let state = state(change);
            let (admitted, whole) = both(&object, &state, &state);
            assert_eq!(admitted, whole);
            assert_eq!(admitted.starts_with("permit"), permitted, "{admitted}");
        };
        let inner = json!({ "unseen": [[1, 2], []], "names": ["x"] });
        check(true, &|json| json["unread"] = json!(vec![&inner; 5000]));
        check(true, &|json| json["inner"]["unseen"] = json!(vec![vec![1; 3]; 5000]));
        let (items, text) = (POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX);
        check(true, &|json| json["marks"] = json!(vec!["x"; items]));
        check(false, &|json| json["marks"] = json!(vec!["x"; items + 1]));
        check(false, &|json| json["marks"] = json!(vec!["x"; 10 * items]));
        check(true, &|json| json["name"] = json!("x".repeat(text)));
        for cut in 1..5 {
            check(false, &|json| json["name"] = json!("x".repeat(text + cut)));
            let wide = "é".repeat(text);
            check(false, &|json| json["name"] = json!("x".repeat(cut) + &wide));
        }
        check(true, &|json| json["log"] = json!("1a".repeat(text / 2)));
        check(false, &|json| json["log"] = json!("1a".repeat(text / 2 + 1)));
        check(false, &|json| json["log"] = json!("1a".repeat(10 * text)));
        check(false, &|json| json["inner"]["names"] = json!(["x", "x".repeat(text + 1)]));
    });
}
