//! Figures of past arguments: what a policy remembers of them, the words for those that there are
//! not, and decisions on figures that are not known.

use std::sync::Arc;

use continuant_policy::{Decision, Facts, Law, Policy, Refusal, Values, admission};
use object::ErrorKind;
use object::credential::PublicKey;
use object::input::{Input, Request};
use object::ledger::{Ledger, Window};
use object::time::Time;
use schema::{Schema, Value, encode_args};

use super::{decide, facts, on_record, parse, record};

const WIT: &str = "
    package a:bank;
    interface bank {
        enum by { card, cash }
        record state { f: u8 }
        pay: func(amount: u64, to: string, by: by, note: option<string>);
        view-page: func(page: u32, to: list<u8>);
        edit: func(to: string, marks: list<u32>, open: bool, change: s64);
    }";

fn schema() -> Schema {
    Schema::parse(WIT).unwrap()
}

/// A rule about edits that has a condition.
fn rule(condition: &str) -> String {
    format!(
        "@id(\"a\")\npermit(principal, action == Action::\"edit\", resource)\nwhen {{\n\
         {condition}\n}};"
    )
}

#[track_caller]
fn check_taken(condition: &str) -> Policy {
    parse(&rule(condition), &schema()).unwrap()
}

/// Checks that a condition is refused at a place of its line, with words.
#[track_caller]
fn check_refused(condition: &str, column: usize, words: &str) {
    let findings = parse(&rule(condition), &schema()).err().unwrap_or_default();
    let findings = findings.replace("\n    ", " ");
    let place = format!("4:{column}: ");
    assert!(findings.contains(&place) && findings.contains(words), "{condition}\n{findings}");
}

#[test]
fn each_figure_has_its_type() {
    for condition in [
        "context.lineage.past.pay.sum.amount.minute + context.input.change <= 5000",
        "context.lineage.past.pay.sum.amount.ever < 10",
        "context.lineage.past[\"pay\"][\"sum\"][\"amount\"][\"hour\"] < 10",
        "context.lineage.past.edit.sum.change.day == 1",
        "context.lineage.past.pay.distinct.to.day == 1024",
        "context.lineage.past.edit.same.open.ever && context.lineage.past.pay.same.to.hour",
        "context.lineage.past.pay.same_signer.to.hour",
        "context.lineage.past.pay.last has by && context.lineage.past.pay.last.by == \"cash\"",
        "context.lineage.past.pay.last has note && context.lineage.past.pay.last.note like \"a*\"",
        "context.lineage.past.edit.last has open && context.lineage.past.edit.last.open",
        "context.lineage.past.view_page.last has to && context.lineage.past.view_page.last.to == \
         \"00ff\"",
        "context.lineage.past has view_page.last.page",
    ] {
        let policy = check_taken(condition);
        assert_eq!(policy.uncompiled().count(), 0, "{condition}");
        let again = Policy::tracked_by(&policy.encode(), || Ok::<_, object::Error>(wasm()));
        // There is no module here: only a text that asks for arguments asks for it.
        assert!(again.is_err(), "{condition}");
    }
}

/// Bytes that are no module.
fn wasm() -> Vec<u8> {
    vec![0]
}

#[test]
fn names_that_there_are_not_are_named_with_those_that_there_are() {
    for (condition, column, words) in [
        ("context.lineage.past.pya.sum.amount.hour < 5", 22, "no action `pya` has a past: `pay`"),
        ("context.lineage.past.pya.count < 5", 22, "`view_page`, `edit`, `advance`, `write`"),
        ("context.lineage.past.pay.summ.amount.hour < 5", 26, "has no `summ`: it has `count`"),
        ("context.lineage.past.pay.minutes < 5", 26, "`day_signers` and, of its arguments, `sum`"),
        ("context.lineage.past.pay.sum.amonut.hour < 5", 30, "`pay` has `amount`, as far as"),
        ("context.lineage.past.pay.sum.to.hour < 5", 30, "as far as they are integers"),
        ("context.lineage.past.pay.last.amonut == 5", 31, "`pay` has `amount`, `to`, `by`, `note`"),
        ("context.lineage.past.edit.distinct.marks.hour < 5", 36, "has `to`, `open`, `change`"),
        ("context.lineage.past.view_page.same.two.hour", 37, "has `page`, `to`"),
        ("context.lineage.past.advance.sum.amount.hour < 5", 34, "`advance` has none"),
        ("context.lineage.past.pay.sum.amount.week < 5", 37, "`minute`, `hour`, `day`, `ever`"),
        ("context.lineage.past.pay.same.to.hourly", 34, "behind `pay.same.to` stands a window"),
    ] {
        check_refused(condition, column, words);
    }
}

#[test]
fn a_literal_beside_a_last_value_has_the_form_of_the_argument() {
    let last = |argument: &str, rest: &str| {
        format!(
            "context.lineage.past.pay.last has {argument} && \
             context.lineage.past.pay.last.{argument} {rest}"
        )
    };
    for (condition, words) in [
        (last("by", "== \"cheque\""), "the cases of `by` are \"card\", \"cash\""),
        (last("by", "like \"x*\""), "no value matches this pattern"),
        (last("amount", "== -1"), "the value is never -1"),
        ("context.lineage.past.pay.sum.amount.hour < 0".to_string(), "this never holds"),
        ("context.lineage.past.pay.distinct.to.hour > 1024".to_string(), "from 0 to 1024"),
    ] {
        let findings = parse(&rule(&condition), &schema()).unwrap_err().replace("\n    ", " ");
        assert!(findings.contains(words), "{condition}\n{findings}");
    }
}

/// An argument is the same as an earlier one only if the step has one of its name and kind.
#[test]
fn a_step_without_the_argument_is_never_the_same() {
    check_taken("context.lineage.past.pay.same.to.hour");
    let no_step = "no step of the rule has an argument";
    check_refused("context.lineage.past.pay.same.amount.hour", 31, no_step);
    check_refused("!context.lineage.past.view_page.same.to.hour", 38, no_step);
    let rule = "@id(\"a\") @dormant(\"other codes have it\")
        forbid(principal, action == Action::\"edit\", resource)
        when { context.lineage.past.pay.same.amount.hour };";
    parse(rule, &schema()).unwrap();
    // A rule about every action has steps that do.
    let rule = "@id(\"a\") forbid(principal, action, resource)
        when { context.lineage.past.pay.same.amount.hour };";
    parse(rule, &schema()).unwrap();
}

#[test]
fn as_many_arguments_as_are_remembered_may_be_asked_for() {
    let params: Vec<String> = (0..16).map(|index| format!("p{index}: u8")).collect();
    let wit = format!(
        "package a:b; interface c {{ record state {{ f: u8 }} pay: func({}); edit: func(q: u8); }}",
        params.join(", ")
    );
    let schema = Schema::parse(&wit).unwrap();
    let of = |name: &str| format!("context.lineage.past.pay.sum.{name}.hour < 5");
    let mut conditions: Vec<String> = (0..16).map(|index| of(&format!("p{index}"))).collect();
    conditions.push("context.lineage.past.pay.sum.p0.ever < 5".to_string());
    parse(&rule(&conditions.join(" && ")), &schema).unwrap();
    conditions.push("context.lineage.past.edit.sum.q.hour < 5".to_string());
    let findings = parse(&rule(&conditions.join(" && ")), &schema).unwrap_err();
    assert!(findings.contains("the past of more than 16 arguments"), "{findings}");
}

fn call(method: &str, values: &[Value]) -> Request {
    let params = &schema().method(method).unwrap().params.clone();
    let arguments = encode_args(values, params).unwrap();
    Request::Call { method: method.to_string(), arguments }
}

fn pay(amount: u64, to: &str) -> Request {
    let by = Value::Enum("card".to_string());
    call("pay", &[amount.into(), to.into(), by, Value::Option(None)])
}

fn view(page: u32, to: &[u8]) -> Request {
    call("view-page", &[Value::U32(page), Value::Bytes(to.to_vec())])
}

/// The ledger of an object of this policy behind some requests, one each second.
fn ledger(policy: &Policy, requests: &[Request]) -> Arc<Ledger> {
    let mut ledger = Arc::new(Ledger::default());
    for (seq, request) in (1..).zip(requests) {
        let (request, time) = (request.clone(), Time::from_millis(1000 * seq));
        let input = Input { request, time, credential: None };
        ledger = ledger.next(policy.tracked(), seq, &input, &[PublicKey([1; 32])]);
    }
    ledger
}

#[test]
fn only_what_the_text_names_is_remembered() {
    let policy = check_taken("context.lineage.past.pay.sum.amount.ever < 100");
    let ledger = ledger(&policy, &[pay(5, "ada"), pay(7, "ben"), view(3, b"")]);
    let mark = ledger.past.argument("pay", "amount").unwrap();
    let now = Time::from_millis(3000);
    assert_eq!((mark.sum(Window::Ever, now), mark.sum(Window::Hour, now)), (Some(12), Some(0)));
    assert_eq!((mark.last(), mark.distinct(Window::Ever, now)), (None, Some(0)));
    assert!(ledger.past.argument("pay", "to").is_none());
    assert!(ledger.past.argument("view-page", "page").is_none());
    let counted = "context.lineage.past.pay.count < 100 // context.lineage.past.pay.last.to";
    let policy = check_taken(counted);
    assert!(self::ledger(&policy, &[pay(5, "ada")]).past.argument("pay", "amount").is_none());
    // The windows of arguments are not those of versions, which are kept one by one for these.
    let short = |condition: &str| {
        let policy = check_taken(condition);
        self::ledger(&policy, &[pay(5, "ada")]).encode().len()
    };
    let hour = "context.lineage.past.pay.hour < 60";
    let of_sum = "context.lineage.past.pay.sum.amount.hour < 100";
    let both = format!("{hour} && {of_sum}");
    assert_eq!(
        short(&both) - short(of_sum),
        short(hour) - short("context.lineage.past.pay.count < 9")
    );
}

/// The decision on an edit, behind some requests.
fn edited(policy: &Policy, requests: &[Request], to: &str) -> Decision {
    let ledger = ledger(policy, requests);
    let now = Time::from_millis(1000 * requests.len() as u64);
    let facts = Facts { time: now, past: &ledger.past, ..facts("edit") };
    let input = [
        ("to".to_string(), Value::from(to)),
        ("marks".to_string(), Value::List(Vec::new())),
        ("open".to_string(), Value::Bool(true)),
        ("change".to_string(), Value::S64(1)),
    ];
    let state = record(&[("f", Value::U8(0))]);
    let values = Values { before: &state, after: &state, input: &input };
    decide(policy, &schema(), &facts, &values)
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    let edit = |change: i64| {
        let (open, to) = (Value::Bool(true), "ada".into());
        call("edit", &[to, Value::List(Vec::new()), open, Value::S64(change)])
    };
    let refused = |path: &str| Decision::Refuse {
        rules: Vec::new(),
        reason: Refusal::Unknown { path: format!("lineage.past.{path}") },
    };
    // A number that goes down would let a limit through, a sum of it a quorum.
    for operator in ["<", ">="] {
        let policy =
            check_taken(&format!("context.lineage.past.edit.sum.change.hour {operator} 5"));
        let known = edited(&policy, &[edit(3), edit(4)], "ada");
        assert_eq!(matches!(known, Decision::Permit { .. }), operator == ">=");
        let decision = edited(&policy, &[edit(9), edit(-1)], "ada");
        assert_eq!(decision, refused("edit.sum.change.hour"));
        let verdict = admission::verdict(Vec::new(), decision).unwrap_err();
        assert_eq!(verdict.detail, "lineage.past.edit.sum.change.hour is not known");
    }
    let many: Vec<Request> = (0..1025).map(|index| pay(1, &format!("payee {index}"))).collect();
    let policy = check_taken("!context.lineage.past.pay.same.to.ever");
    let said = edited(&policy, &many[..1024], "somebody");
    assert!(matches!(said, Decision::Permit { .. }), "{said:?}");
    assert_eq!(edited(&policy, &many, "somebody"), refused("pay.same.to.ever"));
    let known = edited(&policy, &many, "payee 1");
    assert!(matches!(known, Decision::Refuse { reason: Refusal::NotPermitted, .. }), "{known:?}");
    let policy = check_taken("context.lineage.past.pay.distinct.to.ever < 2000");
    assert_eq!(edited(&policy, &many, "somebody"), refused("pay.distinct.to.ever"));
    // A sum for ever knows of the amounts that are forgotten.
    let policy = check_taken("context.lineage.past.pay.sum.amount.ever == 1025");
    assert!(matches!(edited(&policy, &many, ""), Decision::Permit { .. }));
    let policy = check_taken("context.lineage.past.pay.sum.amount.hour < 2000");
    assert_eq!(edited(&policy, &many, ""), refused("pay.sum.amount.hour"));
}

#[test]
fn a_last_value_that_rules_cannot_read_refuses() {
    let last = "context.lineage.past.pay.last";
    let policy = check_taken(&format!("!({last} has to && {last}.to == \"x\")"));
    let long = "x".repeat(256);
    assert!(matches!(edited(&policy, &[pay(1, &long)], ""), Decision::Permit { .. }));
    let decision = edited(&policy, &[pay(1, &format!("{long}x"))], "");
    let path = "lineage.past.pay.last.to".to_string();
    let expected = Decision::Refuse { rules: Vec::new(), reason: Refusal::TooLarge { path } };
    assert_eq!(decision, expected);
    let policy = check_taken(&format!("!({last} has amount && {last}.amount == 1)"));
    let decision = edited(&policy, &[pay(u64::MAX, "")], "");
    let path = "lineage.past.pay.last.amount".to_string();
    let expected = Decision::Refuse { rules: Vec::new(), reason: Refusal::OutOfRange { path } };
    assert_eq!(decision, expected);
    // An argument that may be left out is the last one that was there.
    let policy = check_taken("!(context.lineage.past.pay.last has note)");
    assert!(matches!(edited(&policy, &[pay(1, "")], ""), Decision::Permit { .. }));
}

/// A rule that is in no program is read all the same: nothing of the past is guessed.
#[test]
fn a_policy_on_record_may_test_for_figures_that_there_are_not() {
    let text = "@id(\"a\") @dormant(\"other codes have it\")
        permit(principal, action, resource)
        when {
            context.lineage.past.pay.count < 5 &&
            context.lineage.past has rent && context.lineage.past.rent.sum.amount.hour < 5
        };";
    let policy = on_record(text, &schema());
    policy.validate().unwrap();
    let law = Law::from(
        "@id(\"a\") permit(principal, action, resource)
        when { context.lineage.past.rent.sum.amount.hour < 5 };",
    );
    let refused = super::on_stack(continuant_policy::STACK_BYTES, || {
        Policy::decode(&law.encode(), &schema()).unwrap_err()
    });
    assert!(matches!(refused.kind(), ErrorKind::Policy(_)));
}
