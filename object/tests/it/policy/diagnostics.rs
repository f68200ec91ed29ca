//! What is refused as a policy, with which words and where.

use continuant_object::schema::Schema;
use expect_test::{Expect, expect};

use super::{ANYONE, aircraft, parse};

/// Checks the findings for `text`, shown with the part of the text that each is about.
fn check(text: &str, want: Expect) {
    want.assert_eq(&parse(text, &Schema::parse(aircraft::WIT).unwrap()).unwrap_err());
}

/// Checks the findings for a rule with `condition`.
fn check_condition(condition: &str, want: Expect) {
    check(&format!("@id(\"a\") permit(principal, action, resource) when {{ {condition} }};"), want);
}

#[test]
fn an_unknown_attribute() {
    check_condition(
        "context.before.fligths == 1",
        expect![[r#"
            bytes 52..74: for policy `a`, attribute `before.fligths` in context for
                Action::"advance", Action::"amend", Action::"cancel", Action::"divert",
                Action::"fly", Action::"migrate", Action::"read", Action::"write" not found
                (did you mean `flights`?)
        "#]],
    );
}

#[test]
fn a_parameter_of_another_method() {
    check_condition(
        "context.input.departure == 1",
        expect![[r#"
            bytes 52..75: for policy `a`, attribute `input.departure` in context for
                Action::"advance", Action::"amend", Action::"cancel", Action::"divert",
                Action::"migrate", Action::"read", Action::"write" not found
        "#]],
    );
}

#[test]
fn a_wrong_type() {
    check_condition(
        "context.before.flights == \"1\"",
        expect![[r#"
            bytes 52..81: the types Long and String are not compatible (for policy `a`, both
                operands to a `==` expression must have compatible types. Types must be
                exactly equal to be compatible)
        "#]],
    );
    check_condition(
        "context.before.flights",
        expect![[r#"
        bytes 52..74: for policy `a`, unexpected type: expected Bool but saw Long
    "#]],
    );
}

#[test]
fn an_optional_attribute_without_its_guard() {
    check_condition(
        "context.before.notice < 5",
        expect![[r#"
            bytes 52..73: for policy `a`, unable to guarantee safety of access to optional
                attribute `before.notice` in context for Action::"advance", Action::"amend",
                Action::"cancel", Action::"divert", Action::"fly", Action::"migrate",
                Action::"read", Action::"write" (try testing for the attribute's presence
                with `context.before has notice && ..`)
        "#]],
    );
}

#[test]
fn an_unknown_action_or_type() {
    check(
        "@id(\"a\") permit(principal, action == Action::\"flie\", resource);",
        expect![[r#"
            bytes 37..51: for policy `a`, unrecognized action `Action::"flie"` (did you mean
                `Action::"fly"`?)
        "#]],
    );
    check(
        "@id(\"a\") permit(principal is User, action, resource);",
        expect![[r#"
            bytes 29..33: for policy `a`, unrecognized entity type `User` (did you mean
                `Key`?)
        "#]],
    );
}

#[test]
fn ids_that_are_missing_malformed_or_taken() {
    let rule = "permit(principal, action, resource);";
    check(
        rule,
        expect![[r#"
        bytes 0..36: a rule without an id: put @id("some-name") before it
    "#]],
    );
    let text = format!("@id(\"a\") {rule}\n@id(\"A b\") {rule}\n@id(\"a\") {rule}\n@id {rule}");
    check(
        &text,
        expect![[r#"
        bytes 46..93: an id that is not 1 to 64 of the characters a-z, 0-9 and -
        bytes 94..139: a second rule with the id "a"
        bytes 140..180: an id that is not 1 to 64 of the characters a-z, 0-9 and -
    "#]],
    );
}

#[test]
fn a_reserved_word_behind_a_dot() {
    check_condition(
        "context.before.in == 1",
        expect![[r#"
        bytes 67..69: this identifier is reserved and cannot be used: in
    "#]],
    );
}

#[test]
fn templates() {
    check(
        "@id(\"a\") permit(principal == ?principal, action, resource);",
        expect![[r#"
        bytes 29..39: a template's slot: an object carries rules, not templates
    "#]],
    );
}

#[test]
fn extension_functions() {
    check_condition(
        "decimal(\"1.0\") == decimal(\"1.0\")",
        expect![[r#"
        bytes 52..59: function `decimal`: extension types are not supported
        bytes 70..77: function `decimal`: extension types are not supported
    "#]],
    );
    check_condition(
        "ip(\"::1\").isLoopback()",
        expect![[r#"
        bytes 52..54: function `ip`: extension types are not supported
    "#]],
    );
    check_condition(
        "datetime(\"2013-01-01\") < datetime(\"2013-01-02\")",
        expect![[r#"
        bytes 52..60: function `datetime`: extension types are not supported
        bytes 77..85: function `datetime`: extension types are not supported
    "#]],
    );
    check_condition(
        "duration(\"1d\") == duration(\"1d\")",
        expect![[r#"
        bytes 52..60: function `duration`: extension types are not supported
        bytes 70..78: function `duration`: extension types are not supported
    "#]],
    );
}

#[test]
fn what_is_not_cedar() {
    check(
        "@id(\"a\") permit(principal, action, resource)",
        expect![[r#"
        bytes 44..44: unexpected end of input
    "#]],
    );
    check_condition(
        "context.time == ",
        expect![[r#"
        bytes 69..70: unexpected token `}`
    "#]],
    );
    check_condition(
        "1 % 2 == 1",
        expect![[r#"
        bytes 54..55: character '%' outside of a string
    "#]],
    );
    check_condition(
        "\"a\\",
        expect![[r#"
        bytes 52..58: a string literal that is not closed
    "#]],
    );
    check_condition(
        "1)",
        expect![[r#"
        bytes 53..54: `)` closes no bracket
    "#]],
    );
    check(
        "é",
        expect![[r#"
        bytes 0..2: character 'é' outside of a string
    "#]],
    );
    check(
        "permit(",
        expect![[r#"
        bytes 6..7: a bracket that is not closed
    "#]],
    );
}

#[test]
fn what_is_too_deep() {
    check_condition(
        &format!("{}true{}", "(".repeat(40), ")".repeat(40)),
        expect![[r#"
        bytes 83..84: brackets nested more than 32 deep
    "#]],
    );
    check_condition(
        &"true && ".repeat(70),
        expect![[r#"
        bytes 569..571: a chain of more than 64 operators
    "#]],
    );
    check_condition(
        &format!("context{}", ".before".repeat(70)),
        expect![[r#"
        bytes 507..508: a run of more than 64 prefixes or accesses
    "#]],
    );
    check_condition(
        &format!("{}true", "!".repeat(70)),
        expect![[r#"
        bytes 116..117: a run of more than 64 prefixes or accesses
    "#]],
    );
    let chain = "true && ".repeat(60);
    let deep = format!("{0}({0}({0}({0}({0}true))))", chain);
    check_condition(
        &deep,
        expect![[r#"
        bytes 50..2466: an expression more than 256 operators deep
    "#]],
    );
    let clauses = "when { true } ".repeat(70);
    check(
        &format!("@id(\"a\") permit(principal, action, resource) {clauses};"),
        expect![[r#"
        bytes 946..947: a chain of more than 64 operators
    "#]],
    );
}

#[test]
fn what_is_too_long() {
    check(
        &" ".repeat(70_000),
        expect![[r#"
        70000 bytes of text: at most 65536
    "#]],
    );
    check_condition(
        &format!("[{}].contains(1)", "1,".repeat(4000)),
        expect![[r#"
        bytes 4133..4134: more than 4096 tokens
    "#]],
    );
    check_condition(
        &format!("context.time == \"{}\"", "a".repeat(2000)),
        expect![[r#"
        bytes 68..2070: a string literal of 2000 bytes: at most 1024
    "#]],
    );
    check(
        &ANYONE.repeat(300),
        expect![[r#"
        bytes 13056..13106: more than 256 rules
    "#]],
    );
}

#[test]
fn what_would_be_evaluated_twice_at_each_level() {
    check_condition(
        "(if true then principal else principal) is Key in resource",
        expect![[r#"
            bytes 99..101: `is` with `in` may only test a name or its attributes: test it
                with `is` and `in` apart
        "#]],
    );
}

#[test]
fn brackets_quotes_and_operators_in_texts_and_comments_do_not_count() {
    let text = format!(
        "// {0}\n@id(\"a\") @note(\"{0} \\\" {0}\") permit(principal, action, resource); // \"",
        "([{&&?".repeat(80),
    );
    parse(&text, &Schema::parse(aircraft::WIT).unwrap()).unwrap();
}

#[test]
fn an_empty_policy_is_one() {
    parse("", &Schema::parse(aircraft::WIT).unwrap()).unwrap();
    parse(" // nothing is permitted", &Schema::parse(aircraft::WIT).unwrap()).unwrap();
}
