//! Refused policies, with the words and the place.

use continuant_policy::{Policy, STACK_BYTES};
use expect_test::{Expect, expect, expect_file};
use object::{Diagnostic, ErrorKind};
use schema::Schema;

use super::{ANYONE, aircraft, on_stack, parse};

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
            1:53: for policy `a`, attribute `before.fligths` in context for
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
            1:53: for policy `a`, attribute `input.departure` in context for
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
            1:53: the types Long and String are not compatible (for policy `a`, both operands
                to a `==` expression must have compatible types. Types must be exactly equal
                to be compatible)
        "#]],
    );
    check_condition(
        "context.before.flights",
        expect![[r#"
            1:53: for policy `a`, unexpected type: expected Bool but saw Long
        "#]],
    );
}

#[test]
fn an_optional_attribute_without_its_guard() {
    check_condition(
        "context.before.notice < 5",
        expect![[r#"
            1:53: for policy `a`, unable to guarantee safety of access to optional attribute
                `before.notice` in context for Action::"advance", Action::"amend",
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
            1:38: for policy `a`, unrecognized action `Action::"flie"` (did you mean
                `Action::"fly"`?)
        "#]],
    );
    check(
        "@id(\"a\") permit(principal is User, action, resource);",
        expect![[r#"
            1:30: for policy `a`, unrecognized entity type `User` (did you mean `Key`?)
        "#]],
    );
}

#[test]
fn ids_that_are_missing_malformed_or_taken() {
    let rule = "permit(principal, action, resource);";
    check(
        rule,
        expect![[r#"
            1:1: a rule without an id: put @id("some-name") before it
        "#]],
    );
    let text = format!("@id(\"a\") {rule}\n@id(\"A b\") {rule}\n@id(\"a\") {rule}\n@id {rule}");
    check(
        &text,
        expect![[r#"
            2:1: an id that is not 1 to 64 of the characters a-z, 0-9 and -
            3:1: a second rule with the id "a"
            4:1: an id that is not 1 to 64 of the characters a-z, 0-9 and -
        "#]],
    );
}

#[test]
fn a_reserved_word_behind_a_dot() {
    check_condition(
        "context.before.in == 1",
        expect![[r#"
            1:68: this identifier is reserved and cannot be used: in
        "#]],
    );
}

#[test]
fn templates() {
    check(
        "@id(\"a\") permit(principal == ?principal, action, resource);",
        expect![[r#"
            1:30: a template's slot: an object carries rules, not templates
        "#]],
    );
}

#[test]
fn extension_functions() {
    check_condition(
        "decimal(\"1.0\") == decimal(\"1.0\")",
        expect![[r#"
            1:53: function `decimal`: extension types are not supported
            1:71: function `decimal`: extension types are not supported
        "#]],
    );
    check_condition(
        "ip(\"::1\").isLoopback()",
        expect![[r#"
            1:53: function `ip`: extension types are not supported
        "#]],
    );
    check_condition(
        "datetime(\"2013-01-01\") < datetime(\"2013-01-02\")",
        expect![[r#"
            1:53: function `datetime`: extension types are not supported
            1:78: function `datetime`: extension types are not supported
        "#]],
    );
    check_condition(
        "duration(\"1d\") == duration(\"1d\")",
        expect![[r#"
            1:53: function `duration`: extension types are not supported
            1:71: function `duration`: extension types are not supported
        "#]],
    );
}

#[test]
fn what_is_not_cedar() {
    check(
        "@id(\"a\") permit(principal, action, resource)",
        expect![[r#"
            1:45: unexpected end of input
        "#]],
    );
    check_condition(
        "context.time == ",
        expect![[r#"
            1:70: unexpected token `}`
        "#]],
    );
    check_condition(
        "1 % 2 == 1",
        expect![[r#"
            1:55: character '%' outside of a string
        "#]],
    );
    check_condition(
        "\"a\\",
        expect![[r#"
            1:53: a string literal that is not closed
        "#]],
    );
    check_condition(
        "1)",
        expect![[r#"
            1:54: `)` closes no bracket
        "#]],
    );
    check(
        "é",
        expect![[r#"
            1:1: character 'é' outside of a string
        "#]],
    );
    check(
        "permit(",
        expect![[r#"
            1:7: a bracket that is not closed
        "#]],
    );
}

#[test]
fn what_is_too_deep() {
    check_condition(
        &format!("{}true{}", "(".repeat(40), ")".repeat(40)),
        expect![[r#"
            1:84: brackets nested more than 32 deep
        "#]],
    );
    check_condition(
        &"true && ".repeat(260),
        expect![[r#"
            1:1978: a chain of more than 240 operators: for one value among many write `[1,
                2, 3].contains(value)`, and brackets or rules of their own for the rest
            1:51: an expression more than 256 operators deep
        "#]],
    );
    check_condition(
        &format!("context{}", ".before".repeat(70)),
        expect![[r#"
            1:508: a run of more than 64 prefixes or accesses
        "#]],
    );
    check_condition(
        &format!("{}true", "!".repeat(70)),
        expect![[r#"
            1:117: a run of more than 64 prefixes or accesses
        "#]],
    );
    let chain = "true && ".repeat(60);
    let deep = format!("{0}({0}({0}({0}({0}true))))", chain);
    check_condition(
        &deep,
        expect![[r#"
            1:51: an expression more than 256 operators deep
        "#]],
    );
    let clauses = "when { true } ".repeat(260);
    check(
        &format!("@id(\"a\") permit(principal, action, resource) {clauses};"),
        expect![[r#"
            1:3411: a chain of more than 240 operators: for one value among many write `[1,
                2, 3].contains(value)`, and brackets or rules of their own for the rest
            1:1: a rule more than 256 operators deep
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
            1:4134: more than 4096 tokens
        "#]],
    );
    check_condition(
        &format!("context.time == \"{}\"", "a".repeat(2000)),
        expect![[r#"
            1:69: a string literal of 2000 bytes: at most 1024
        "#]],
    );
    check(
        &ANYONE.repeat(300),
        expect![[r#"
            257:1: more than 256 rules
        "#]],
    );
}

#[test]
fn what_would_be_evaluated_twice_at_each_level() {
    check_condition(
        "(if true then principal else principal) is Key in resource",
        expect![[r#"
            1:100: `is` with `in` may only test a name or its attributes: test it with `is`
                and `in` apart
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

/// Returns the findings, each with its line quoted and marked.
fn quoted(text: &str) -> String {
    let schema = Schema::parse(aircraft::WIT).unwrap();
    let error = on_stack(STACK_BYTES, || Policy::parse(text, &schema)).unwrap_err();
    let ErrorKind::Policy(findings) = error.kind() else { panic!("{error}") };
    let lines = |finding: &Diagnostic| {
        let [line, mark] = finding.quoted().unwrap();
        let place = finding.place.as_ref().unwrap();
        format!("{}:{}\n{line}\n{mark}\n", place.line, place.column)
    };
    findings.iter().map(lines).collect()
}

#[test]
fn a_finding_quotes_its_line_and_marks_its_place() {
    let text = "// é\r\n@id(\"a\")\r\npermit(principal, action, resource)\r\n\twhen { \"é\" == \
                \"é\" && context.nothing == 1 };\r\n";
    check(
        text,
        expect![[r#"
        4:23: for policy `a`, attribute `nothing` in context for Action::"advance",
            Action::"amend", Action::"cancel", Action::"divert", Action::"fly",
            Action::"migrate", Action::"read", Action::"write" not found (did you mean
            `policy`?)
    "#]],
    );
    expect![[r#"
        4:23
         when { "é" == "é" && context.nothing == 1 };
                              ^^^^^^^^^^^^^^^
    "#]]
    .assert_eq(&quoted(text));
}

#[test]
fn a_quoted_line_is_printable_and_not_long() {
    let hostile = format!(
        "@id(\"a\") permit(principal, action, resource) when {{ \"{}\u{1b}[2J\u{202e}\" == \
         \"\" && context.nothing == 1 && \"{}\" == \"\" }};",
        "x".repeat(300),
        "y".repeat(300),
    );
    let told = quoted(&hostile);
    expect_file!["quoted.txt"].assert_eq(&told);
    assert!(
        told.chars().all(|letter| letter == '\n' || letter == ' ' || letter.is_ascii_graphic())
    );
    assert!(told.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn a_place_at_the_end_of_the_text_is_marked() {
    expect![[r#"
        2:36
        permit(principal, action, resource)
                                           ^
    "#]]
    .assert_eq(&quoted("@id(\"a\")\npermit(principal, action, resource)"));
    expect![[r#"
        2:36
        permit(principal, action, resource)
                                           ^
    "#]]
    .assert_eq(&quoted("@id(\"a\")\npermit(principal, action, resource)\n"));
}

#[test]
fn an_escape_that_there_is_not_is_told_in_our_words() {
    check_condition(
        "\"a\\q\" == \"a\"",
        expect![[r#"
        1:55: an escape that Cedar does not have; it has \n \r \t \0 \\ \" \' \x41
            \u{e9}, and in the pattern of a `like` \*
    "#]],
    );
    check_condition(
        "\"a\\n\\u{110000}\" == \"a\"",
        expect![[r#"
        1:57: an escape that Cedar does not have; it has \n \r \t \0 \\ \" \' \x41
            \u{e9}, and in the pattern of a `like` \*
    "#]],
    );
    check_condition(
        "\"a\\x80\" == \"a\"",
        expect![[r#"
        1:55: an escape that Cedar does not have; it has \n \r \t \0 \\ \" \' \x41
            \u{e9}, and in the pattern of a `like` \*
    "#]],
    );
    check_condition(
        "\"a\" like \"a\\*\\q\"",
        expect![[r#"
        1:66: an escape that Cedar does not have; it has \n \r \t \0 \\ \" \' \x41
            \u{e9}, and in the pattern of a `like` \*
    "#]],
    );
    check_condition(
        "\"a\\*\" == \"a\"",
        expect![[r#"
        1:53: an escape that Cedar does not have; it has \n \r \t \0 \\ \" \' \x41
            \u{e9}, and in the pattern of a `like` \*
    "#]],
    );
}

#[test]
fn the_object_itself_is_no_matter_of_a_scope() {
    check(
        "@id(\"a\") permit(principal == resource, action, resource);",
        expect![[r#"
        1:30: a scope names what is held against with `==` in full, as Key::"..."; for
            the object itself write `principal is Object` here, and behind the scope
            `when { principal == resource }`
    "#]],
    );
}
