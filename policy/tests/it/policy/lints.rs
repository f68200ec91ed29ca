//! Lints: valid Cedar that is refused in a new policy, such as rules that can never hold, literals
//! that no fact ever equals, bans that a second signature evades. Policies on record stay valid.

use continuant_policy::{Law, Policy, STACK_BYTES};
use expect_test::{Expect, expect};
use object::ErrorKind;
use schema::Schema;

use super::{facts, on_stack, parse, print, record, values};

const WIT: &str = "
    package lint:thing@1.0.0;

    interface thing {
        enum stage { made, paid }
        flags needs { ice, crew }
        record spot { row: u8, stage: stage }
        record state {
            owner: string,
            digest: list<u8>,
            letter: char,
            stage: stage,
            needs: needs,
            stages: list<stage>,
            letters: list<char>,
            small: u8,
            tiny: s8,
            total: u64,
            far: s64,
            numbers: list<u16>,
            spot: spot,
            last: option<stage>,
            limit: option<u64>,
        }
        pay: func(amount: u32, to: stage, note: option<char>);
        ship: func(amount: u8, to: string);
    }";
const KEY: &str = "abababababababababababababababababababababababababababababababab";

fn schema() -> Schema {
    Schema::parse(WIT).unwrap()
}

/// Checks the findings in a policy.
#[track_caller]
fn check(text: &str, want: Expect) {
    want.assert_eq(&parse(text, &schema()).unwrap_err());
}

/// Returns a forbid with a condition, beside a rule that permits everything.
fn forbid(condition: &str) -> String {
    format!(
        "@id(\"any\") permit(principal, action, resource);\n\
         @id(\"no\") forbid(principal, action, resource) when {{ {condition} }};"
    )
}

/// A permit of one method with a condition.
fn permit(action: &str, condition: &str) -> String {
    format!(
        "@id(\"yes\")\npermit(principal, action == Action::\"{action}\", resource)\nwhen {{ \
         {condition} }};"
    )
}

/// Checks that a policy is taken.
#[track_caller]
fn check_taken(text: &str) {
    if let Err(findings) = parse(text, &schema()) {
        panic!("{text}\n{findings}");
    }
}

/// Checks that a policy is refused with words, and would decide if it were on record.
#[track_caller]
fn check_refused(text: &str, words: &str) {
    let findings = parse(text, &schema()).err().unwrap_or_default();
    assert!(findings.replace("\n    ", " ").contains(words), "{text}\n{findings}");
    on_stack(STACK_BYTES, || {
        let policy = Policy::decode(&Law::from(text).encode(), &schema()).unwrap();
        let again = policy.validate().unwrap_err();
        assert!(matches!(again.kind(), ErrorKind::Policy(found) if !found.is_empty()));
        print(&policy.decide(&facts("write"), &values(&record(&[]))));
    });
}

#[test]
fn a_key_is_written_in_full_and_in_lower_case() {
    let upper = KEY.to_uppercase();
    for scope in ["principal == Key::", "principal in Key::", "principal is Key in Key::"] {
        let rule = |key: &str| {
            format!("@id(\"a\") permit({scope}\"{key}\", action == Action::\"pay\", resource);")
        };
        check_taken(&rule(KEY));
        check_refused(&rule(&upper), &format!("is no key: write \"{KEY}\""));
        check_refused(&rule(&format!("0x{KEY}")), &format!("is no key: write \"{KEY}\""));
        check_refused(&rule(&format!("0X{upper}")), &format!("is no key: write \"{KEY}\""));
        check_refused(&rule(&KEY[1..]), "it has 63 digits, a key has 64");
        check_refused(&rule(&format!("{KEY}0")), "it has 65 digits, a key has 64");
        check_refused(&rule("bob"), "a rule names a key by its 64 lower-case hexadecimal digits");
        check_refused(&rule(""), "a rule names a key by its 64 lower-case hexadecimal digits");
        check_refused(&rule(&format!(" {KEY}")), &format!("is no key: write \"{KEY}\""));
    }
    for condition in [
        "principal == Key::\"K\"",
        "principal != Key::\"K\" || context.before.total == 1",
        "principal in [Key::\"K\"]",
        "principal is Key && [Key::\"K\"].contains(principal)",
        "context.signers.contains(\"K\")",
        "context.signers.containsAny([\"K\"])",
        "context.signers.containsAll([\"K\"])",
        "context.signers == [\"K\"]",
        "[\"K\"].containsAny(context.signers)",
        "context.signers == (if context.before.total == 1 then [\"K\"] else [\"K\"])",
    ] {
        let rule = |key: &str| permit("pay", &condition.replace("\"K\"", &format!("\"{key}\"")));
        if !condition.contains("!=") {
            check_taken(&rule(KEY));
        }
        check_refused(&rule(&upper), &format!("is no key: write \"{KEY}\""));
        check_refused(&rule("bob"), "never by a name");
    }
}

#[test]
fn an_object_is_written_as_a_key_is_and_nobody_has_no_name() {
    let rule = |principal: &str| {
        format!("@id(\"a\") permit({principal}, action == Action::\"pay\", resource);")
    };
    check_taken(&rule(&format!("principal == Object::\"{KEY}\"")));
    check_refused(&rule("principal == Object::\"treasury\""), "is no object's id");
    check_refused(
        &rule(&format!("principal == Object::\"{}\"", KEY.to_uppercase())),
        &format!("is no object's id: write \"{KEY}\""),
    );
    check_taken(&rule("principal == Anonymous::\"\""));
    check_refused(&rule("principal == Anonymous::\"bob\""), "the id of `Anonymous` is \"\"");
    let resource =
        "@id(\"a\") permit(principal, action == Action::\"pay\", resource == Object::\"x\");";
    check_refused(resource, "is no object's id");
    check_refused(&permit("pay", "resource == Object::\"x\""), "is no object's id");
    let receivers = |id: &str| permit("pay", &format!("context.effects.receivers == [\"{id}\"]"));
    check_taken(&receivers(KEY));
    check_refused(&receivers("treasury"), "is no object's id");
}

#[test]
fn hashes_are_64_digits() {
    let guarded = "context.sender has code && context.sender has policy && \
                   context.sender has first_policy && ";
    for (fact, what) in [
        ("context.code", "hash of code"),
        ("context.policy", "hash of a policy"),
        ("context.sender.code", "hash of code"),
        ("context.sender.policy", "hash of a policy"),
        ("context.sender.first_policy", "hash of a policy"),
    ] {
        let rule = |hash: &str| permit("pay", &format!("{guarded}{fact} == \"{hash}\""));
        check_taken(&rule(KEY));
        check_refused(&rule(&KEY.to_uppercase()), &format!("is no {what}: write \"{KEY}\""));
        check_refused(&rule("v2"), &format!("is no {what}"));
        let any = |hash: &str| permit("pay", &format!("{guarded}[\"{hash}\"].contains({fact})"));
        check_taken(&any(KEY));
        check_refused(&any("v2"), &format!("is no {what}"));
    }
    for fact in ["code", "policy"] {
        let rule = |hash: &str| permit("upgrade", &format!("context.upgrade.{fact} == \"{hash}\""));
        check_taken(&rule(KEY));
        check_refused(&rule("latest"), "is no hash of");
    }
}

#[test]
fn words_are_those_that_there_are() {
    check_taken(&forbid("context.credential == \"session\""));
    check_refused(
        &forbid("context.credential == \"sesion\""),
        "the value is never \"sesion\": the credentials are \"none\", \"signature\", \"batch\", \
         \"session\"",
    );
    check_refused(
        &forbid("[\"Batch\"].contains(context.credential)"),
        "the value is never \"Batch\"",
    );
    check_taken(&permit("read", "[\"stage\", \"total\"].contains(context.field)"));
    check_refused(&permit("read", "context.field == \"totl\""), "the fields of the state are");
    check_taken(&permit("pay", "context.before.stage == \"made\""));
    check_refused(
        &permit("pay", "context.before.stage != \"Made\""),
        "the cases of `stage` are \"made\", \"paid\"",
    );
    check_refused(&permit("pay", "context.before.spot.stage == \"sent\""), "the cases of `stage`");
    check_refused(
        &permit("pay", "context.after.stages.contains(\"sent\")"),
        "the cases of `stage`",
    );
    check_refused(
        &permit("pay", "context.after has last && context.after.last == \"sent\""),
        "the cases of `stage`",
    );
    check_refused(&permit("pay", "context.input.to == \"sent\""), "the cases of `stage`");
    check_taken(&permit("pay", "context.before.needs == [\"ice\", \"crew\"]"));
    check_refused(
        &permit("pay", "context.before.needs.contains(\"fuel\")"),
        "the flags of `needs`",
    );
    // A parameter of that name is a text to another method that the rule is about.
    let both =
        "@id(\"a\") permit(principal, action in [Action::\"pay\", Action::\"ship\"], resource)
        when { context.input.to == \"sent\" };";
    check_taken(both);
}

#[test]
fn bytes_characters_names_and_numbers_have_forms() {
    check_taken(&permit("pay", "context.before.digest == \"00ff\""));
    check_refused(&permit("pay", "context.before.digest == \"00FF\""), "lower-case hexadecimal");
    check_refused(&permit("pay", "context.before.digest == \"0ff\""), "a byte has two digits");
    check_taken(&permit("pay", "context.before.letter == \"é\""));
    check_refused(&permit("pay", "context.before.letter == \"ab\""), "not one character");
    check_refused(&permit("pay", "context.before.letters.contains(\"\")"), "not one character");
    check_refused(
        &permit("pay", "context.input has note && context.input.note == \"ab\""),
        "not one character",
    );
    let long = "a".repeat(70);
    check_refused(
        &permit("pay", &format!("context.effects.outputs.contains(\"{long}\")")),
        "70 bytes",
    );
    check_taken(&permit("pay", "context.before.owner == \"ABC\""));
    for (fact, number, range) in [
        ("context.before.small", "256", "0 to 255"),
        ("context.before.tiny", "-129", "-128 to 127"),
        ("context.before.total", "-1", "0 to 9223372036854775807"),
        ("context.input.amount", "4294967296", "0 to 4294967295"),
        ("context.time", "-1", "0 to 9223372036854775807"),
        ("context.lineage.past.pay.hour", "-5", "0 to 9223372036854775807"),
    ] {
        let equal = permit("pay", &format!("{fact} == {number}"));
        check_refused(&equal, &format!("the value is never {number}: it is from {range}"));
    }
    check_refused(&permit("pay", "context.before.numbers.contains(65536)"), "0 to 65535");
    check_refused(&forbid("context.after.total < 0"), "this never holds: the value is from 0");
    check_refused(&forbid("0 > context.after.total"), "this never holds: the value is from 0");
    check_refused(
        &forbid("context.after.small > 255"),
        "this never holds: the value is from 0 to 255",
    );
    check_taken(&forbid("context.after.far < 0"));
    check_taken(&permit("pay", "context.after.total >= 0"));
    check_taken(&forbid("context.after.small > 254"));
}

#[test]
fn a_pattern_is_one_that_a_value_can_be_like() {
    check_taken(&permit("pay", "context.code like \"ab*\""));
    check_refused(&permit("pay", "context.code like \"AB*\""), "no value matches this pattern");
    check_refused(&permit("pay", "context.code like \"ab\""), "the value has 64 digits");
    check_taken(&permit("pay", "context.credential like \"s*\""));
    check_refused(&permit("pay", "context.credential like \"sess\""), "the credentials are");
    check_refused(&permit("pay", "context.before.stage like \"m*d\""), "the cases of `stage` are");
    check_taken(&permit("pay", "context.before.owner like \"A\\**\""));
}

#[test]
fn an_attribute_that_no_step_has_is_not_asked_for() {
    check(
        &forbid("context has limit && context.limit > 5"),
        expect![[r#"
            2:1: the rule no can never hold, so that it forbids nothing: mend it, take it
                out, or say why it is there by @dormant("...")
            2:66: no step to which this rule applies has `context.limit`
        "#]],
    );
    check(
        &permit("pay", "context.before.total == 1 || context.before has limt"),
        expect![[r#"
            3:56: no step to which this rule applies has `context.before.limt`
        "#]],
    );
    check_refused(
        &permit("ship", "context.input has note || context.cost.fuel > 1"),
        "context.input.note",
    );
    check_refused(&permit("pay", "principal has name || context.cost.fuel > 1"), "no principal");
    check_taken(&forbid("context.after has limit && context.after.total > context.after.limit"));
    check_taken(&forbid("context has input.amount && context.input.amount > 5"));
    check_taken(&permit("upgrade", "context has upgrade.code"));
}

#[test]
fn a_rule_that_can_never_hold_is_not_taken_unless_it_says_why() {
    for rule in [
        "forbid(principal, action, resource) when { false };",
        "permit(principal, action, resource) when { context.cost.fuel > 5 && false };",
        "forbid(principal, action == Action::\"pay\", resource)
         when { action == Action::\"ship\" };",
        "permit(principal is Anonymous, action == Action::\"advance\", resource);",
        "permit(principal is Key, action == Action::\"pay\", resource)
         when { principal is Object };",
        "permit(principal, action, resource) when { action == Action::\"amend\" };",
        "permit(principal is Object, action == Action::\"open_session\", resource);",
    ] {
        let text = format!("@id(\"any\") permit(principal, action, resource);\n@id(\"x\")\n{rule}");
        check_refused(&text, "the rule x can never hold");
        let said = text.replace("@id(\"x\")", "@id(\"x\") @dormant(\"of another schema\")");
        let policy = parse(&said, &schema()).unwrap();
        assert_eq!(policy.dead().collect::<Vec<_>>(), ["x"], "{rule}");
        check_refused(
            &text.replace("@id(\"x\")", "@id(\"x\") @dormant(\" \")"),
            "without a reason",
        );
        check_refused(&text.replace("@id(\"x\")", "@id(\"x\") @dormant"), "without a reason");
    }
    // The annotation covers values that another schema may have, but not a malformed key.
    let dormant = |condition: &str| {
        format!(
            "@id(\"a\") @dormant(\"x\") permit(principal, action, resource) when {{ {condition} }};"
        )
    };
    check_taken(&dormant("context.before has lmit && context.cost.fuel > 5"));
    check_taken(&dormant("context.before.stage == \"sent\""));
    check_refused(&dormant("context.signers.contains(\"ada\")"), "is no key");
}

/// Regression: conditions that exclude each other were taken without a word.
#[test]
fn a_rule_whose_conditions_exclude_each_other_is_not_taken() {
    let (one, other) = (KEY.to_string(), KEY.replace('a', "0"));
    let keys =
        format!("principal == Key::\"{one}\" && context.lineage.seq > 5 && principal in Key::");
    for condition in [
        "context.input.amount > 10 && context.input.amount < 5",
        "10 < context.input.amount && 5 > context.input.amount",
        "context.input.amount > 4 && context.input.amount < 5",
        "context.input.amount >= 5 && context.input.amount <= 5 && context.input.amount != 5",
        "context.input.amount == 5 && context.input.amount == 6",
        "context.input.amount == 5 && context.input.amount != 5",
        "context.input.amount > 4 && (context.cost.fuel > 1 && context.input.amount <= 4)",
        "!(context.input.amount > 10 || context.input.amount < 10 || context.input.amount == 10)",
        "context.before.far >= -1 && context.before.far <= 0 && context.before.far != 0
             && context.before.far != -1",
        "context.before.far + 1 > 5 && context.before.far + 1 < 5",
        "context.before.owner == \"a\" && context.before.owner == \"b\"",
        "context.before.owner == \"a\" && \"a\" != context.before.owner",
        "context.before.total < context.after.total && context.after.total < context.before.total",
        "context.before.total > context.before.total",
        "context.before.total == context.after.total && context.after.total > context.before.total",
        "context.before.owner like \"a*\" && !(context.before.owner like \"a*\")",
        "context.signers.isEmpty() == true && context.signers.isEmpty() != true",
        "context.before has limit && !(context.before has limit)",
        &format!("{keys}\"{other}\""),
    ] {
        let text = permit("pay", condition);
        check_refused(&text, "can never hold, as two of its conditions exclude each other");
    }
    let scope = format!(
        "@id(\"x\") permit(principal == Key::\"{one}\", action == Action::\"pay\", resource)
         when {{ principal == Key::\"{other}\" }};"
    );
    check_refused(&scope, "exclude each other");
    let clauses = "@id(\"x\") permit(principal, action == Action::\"pay\", resource)
        when { context.cost.fuel > 5 && context.input.amount == 1 }
        unless { context.input.amount == 1 || context.cost.pages > 7 };";
    check_refused(clauses, "exclude each other");
    check_taken(&clauses.replace("@id(\"x\")", "@id(\"x\") @dormant(\"a test\")"));
    for condition in [
        "context.input.amount > 4 && context.input.amount < 6",
        "context.input.amount >= 5 && context.input.amount <= 5",
        "context.input.amount >= 5 && context.input.amount != 5",
        "context.input.amount == 5 && 5 == context.input.amount",
        "context.input.amount > 10 || context.input.amount < 5",
        "context.input.amount == 5 || (context.input.amount == 6 && context.cost.fuel != 5)",
        "!(context.input.amount > 10 && context.input.amount < 5)",
        "context.before.total > 10 && context.after.total < 5",
        "context.cost.fuel <= context.cost.pages && context.cost.pages <= context.cost.fuel",
        "context.before.total == context.before.total",
        "context.before.owner != \"a\" && context.before.owner != \"b\"",
        "context.before.far > 9223372036854775806 && context.before.far != 0",
        "if context.cost.fuel > 5 then context.cost.fuel > 4 else context.cost.fuel < 6",
        &format!("{keys}\"{one}\""),
    ] {
        check_taken(&permit("pay", condition));
    }
}

#[test]
fn texts_that_read_as_others_are_not_taken_unless_they_say_why() {
    for text in ["p\u{430}y", "a\u{202e}b"] {
        let rule = permit("pay", &format!("context.before.owner == \"{text}\""));
        check_refused(&rule, "@confusable");
        check_taken(&rule.replace("@id(\"yes\")", "@id(\"yes\") @confusable(\"a test\")"));
        let like = permit("pay", &format!("context.before.owner like \"{text}*\""));
        check_refused(&like, "@confusable");
    }
    check_taken(&permit("pay", "context.before.owner == \"пример\""));
    let comment = permit("pay", "true").replace("@id", "// a\u{202e}b\n@id");
    check_refused(&comment, "changes the direction");
}

#[test]
fn a_ban_of_a_key_holds_whoever_else_signs() {
    let any = "@id(\"any\") permit(principal, action, resource);\n@id(\"no\") ";
    let evaded = "a second signature by a lower key evades this";
    for rule in [
        "forbid(principal == Key::\"K\", action, resource);",
        "forbid(principal in Key::\"K\", action, resource);",
        "forbid(principal is Key in Key::\"K\", action, resource);",
        "forbid(principal, action, resource) when { principal == Key::\"K\" };",
        "forbid(principal, action, resource) unless { principal != Key::\"K\" };",
        "forbid(principal, action, resource) when { !(principal != Key::\"K\") };",
        "forbid(principal, action, resource) when { Key::\"K\" == principal && context.time > 0 };",
        "forbid(principal, action, resource) when { principal in [Key::\"K\"] };",
        "forbid(principal, action, resource) 
         when { principal is Key && [Key::\"K\"].contains(principal) };",
        "forbid(principal, action, resource)
         when { principal is Key && [Key::\"K\"].containsAny([principal]) };",
        "forbid(principal, action, resource) when { principal is Key in Key::\"K\" };",
        "forbid(principal, action, resource)
         when { if principal == Key::\"K\" then context.cost.fuel > 5 \
         else context.cost.fuel > 9 };",
        "forbid(principal, action, resource)
         when { if principal == Key::\"K\" then true else context.cost.fuel > 9 };",
        "permit(principal, action == Action::\"amend\", resource)
         unless { principal == Key::\"K\" };",
        "permit(principal, action, resource) when { principal != Key::\"K\" };",
        "permit(principal, action, resource) when { !(principal in Key::\"K\") };",
    ] {
        let rule = rule.replace("\"K\"", &format!("\"{KEY}\""));
        check_refused(&format!("{any}{rule}"), evaded);
    }
    for rule in [
        "forbid(principal, action, resource) when { context.signers.contains(\"K\") };",
        "forbid(principal, action, resource) unless { principal == Key::\"K\" };",
        "forbid(principal, action, resource) when { principal != Key::\"K\" };",
        "permit(principal == Key::\"K\", action == Action::\"amend\", resource);",
        "permit(principal, action, resource) when { principal == Key::\"K\" };",
        "permit(principal, action, resource)
         when { if principal == Key::\"K\" then true else context.cost.fuel > 9 };",
        "forbid(principal == Object::\"K\", action, resource);",
        "forbid(principal is Anonymous, action, resource);",
    ] {
        let rule = rule.replace("\"K\"", &format!("\"{KEY}\""));
        check_taken(&format!("{any}{rule}"));
    }
    for condition in ["context.signers == [\"K\"]", "[\"K\"].containsAll(context.signers)"] {
        let condition = condition.replace('K', KEY);
        check_refused(&forbid(&condition), "one more signature evades this");
        check_taken(&permit("pay", &condition));
    }
    check_taken(&forbid(&format!("context.signers.containsAll([\"{KEY}\"])")));
}

#[test]
fn every_finding_is_told_at_its_place() {
    let text = "@id(\"a\")
permit(principal == Key::\"ADA\", action == Action::\"pay\", resource)
when { context.credential == \"sesion\" || context.code == \"x\" };

@id(\"b\")
forbid(principal, action, resource)
when {
    context.signers.contains(\"0xab\") ||
    context.before has lmit
};";
    check(
        text,
        expect![[r#"
            2:21: "ADA" is no key: it has 3 digits, a key has 64
            3:30: the value is never "sesion": the credentials are "none", "signature",
                "batch", "session"
            3:58: "x" is no hash of code: a rule names a hash of code by its 64 lower-case
                hexadecimal digits, never by a name
            8:30: "0xab" is no key: it has 2 digits, a key has 64
            9:24: no step to which this rule applies has `context.before.lmit`
        "#]],
    );
}

#[test]
fn what_can_be_changed_is_told_of_amendments_and_upgrades_apart() {
    let amend = "@id(\"amend\") permit(principal, action == Action::\"amend\", resource);";
    let upgrade = "@id(\"upgrade\") permit(principal, action == Action::\"upgrade\", resource);";
    let none = "@id(\"none\") forbid(principal, action == Action::\"amend\", resource);";
    let closed = "@id(\"closed\") forbid(principal, action, resource);";
    let any = "@id(\"any\") permit(principal, action, resource);";
    for (text, amendable, upgradable, permitted) in [
        (String::new(), false, false, 0),
        (any.to_string(), false, false, 6),
        (amend.to_string(), true, false, 1),
        (upgrade.to_string(), false, true, 1),
        (format!("{amend}{none}"), false, false, 0),
        (format!("{amend}{upgrade}{none}"), false, true, 1),
        (format!("{any}{amend}{upgrade}{closed}"), false, false, 0),
        (
            format!("{amend}{}", none.replace(';', " when { context.cost.fuel > 5 };")),
            true,
            false,
            1,
        ),
    ] {
        let policy = parse(&text, &schema()).unwrap();
        assert_eq!(
            (policy.is_amendable(), policy.is_upgradable()),
            (amendable, upgradable),
            "{text}"
        );
        assert_eq!(policy.is_changeable(), amendable || upgradable);
        assert_eq!(policy.permitted().count(), permitted, "{text}");
    }
}

/// Checks that a rule is refused for a number of another unit, and taken with a reason.
#[track_caller]
fn check_unit(condition: &str, words: &str) {
    check_refused(&forbid(condition), words);
    check_refused(&forbid(condition), "or say why it is meant by @unit(\"...\")");
    check_taken(&forbid(condition).replace("@id(\"no\")", "@id(\"no\") @unit(\"of a test\")"));
}

#[test]
fn a_time_in_seconds_is_told() {
    let before = "is before 2000, as times are milliseconds since 1970-01-01 UTC: if it is in \
                  seconds, write 1700000000000";
    let has = "context.lineage.past.pay has time && ";
    for condition in [
        "context.time >= 1700000000",
        "context.time < 1700000000",
        "1700000000 <= context.time",
        "context.time == 1700000000",
        "context.time != 1700000000",
        "[1, 1700000000000, 1700000000].contains(context.time)",
        "context.time > (if context.before.total == 1 then 1700000000 else 1700000000001)",
        "(if context.before.total == 1 then context.time else context.time) > 1700000000",
        "!(context.before.total == 1 || context.time > 1700000000)",
        "context.effects has wake && context.effects.wake > 1700000000",
        &format!("{has}context.lineage.past.pay.time > 1700000000"),
        "context.time + 5000 > 1700000000",
        "context.time + context.before.total > 1700000000",
        "context.time - 5000 > 1700000000",
        "context.time - context.lineage.age > 1700000000",
    ] {
        check_unit(condition, before);
    }
    let of = |number: &str| format!("context.time >= {number}");
    check_unit(&of("1700000000000000"), "if it is in microseconds, write 1700000000000");
    check_unit(&of("1700000000000000000"), "if it is in nanoseconds, write 1700000000000");
    check_unit(&of("946684799999"), "is before 2000");
    check_unit(&of("1"), "1 is before 2000");
    check_unit(&of("20261129"), "2000-01-01 is 946684800000");
    check_unit(&of("253402300800000"), "is beyond the year 9999");
    for number in ["0", "946684800000", "1700000000000", "253402300799999", "9223372036854775807"] {
        check_taken(&forbid(&of(number)));
    }
    // A number without a known unit may have any value.
    check_taken(&forbid("context.before.total > 1700000000 && context.lineage.seq > 1700000000"));
    check_taken(&forbid("context.time - context.before.total > 5 || context.cost.fuel == 60"));
    check_taken(&forbid("context.time * 2 > 5"));
    let text = forbid("context.time >= 1700000000");
    check_refused(&text, "1700000000 is before 2000");
    assert!(parse(&text, &schema()).unwrap_err().contains("2:70"), "its place");
    check_refused(
        &text.replace("@id(\"no\")", "@id(\"no\") @unit(\" \")"),
        "@unit without a reason",
    );
}

#[test]
fn a_span_in_seconds_is_told() {
    let has = "context.lineage.past.pay has time && ";
    for (condition, words) in [
        (
            "context.lineage.age < 60",
            "60 is 0.060 s, as spans of time are milliseconds: if it is in seconds, write 60000",
        ),
        ("86400 < context.lineage.age", "86400 is 86.400 s, as"),
        ("context.lineage.age >= 3600", "if it is in seconds, write 3600000"),
        (&format!("{has}context.time - context.lineage.past.pay.time < 300"), "0.300 s"),
        (&format!("{has}context.lineage.past.pay.time + 300 > context.time"), "0.300 s"),
        (&format!("{has}context.time < context.lineage.past.pay.time + 604800"), "604.800 s"),
        ("context.effects has wake && context.effects.wake > context.time + 60", "0.060 s"),
        ("context.time - 60 > context.before.total", "0.060 s"),
    ] {
        check_unit(condition, words);
    }
    for span in ["0", "1000", "1500", "60000", "3600000", "86400000"] {
        check_taken(&forbid(&format!("context.lineage.age >= {span}")));
        check_taken(&forbid(&format!("context.time + {span} > context.before.total")));
    }
}

#[test]
fn a_limit_that_no_window_counts_up_to_is_told() {
    let past = "context.lineage.past.pay.minute";
    for condition in ["> 64", ">= 65", "< 65", "<= 64", "== 64", "!= 100", "< 1000"] {
        let words = "64 or more versions in a window count as 2^63 - 1";
        check_unit(&format!("{past} {condition}"), words);
        check_unit(&format!("context.lineage.past.pay.day_signers {condition}"), words);
    }
    check_unit(&format!("100 > {past}"), "no window counts up to 100");
    for condition in ["> 63", ">= 64", "< 64", "<= 63", "== 63", "== 9223372036854775807"] {
        check_taken(&forbid(&format!("{past} {condition}")));
    }
    check_taken(&forbid("context.lineage.past.pay.count > 1000"));
}
