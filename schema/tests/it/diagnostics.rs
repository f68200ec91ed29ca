//! Refused schema texts, with the words, and that hostile text does no harm.

use expect_test::{Expect, expect};
use object::{ErrorKind, limits};
use schema::Schema;

use crate::generate::wit;
use crate::source::Source;

/// All findings, each with the text it is about.
fn check(text: &str, expect: Expect) {
    let error = Schema::parse(text).map(|schema| schema.package().to_string()).unwrap_err();
    let ErrorKind::Schema(findings) = error.kind() else { panic!("{error}") };
    let lines = findings.iter().map(|finding| {
        let place = finding.span.clone().map_or("-", |span| &text[span]);
        format!("{place:?}: {}\n", finding.message)
    });
    expect.assert_eq(&lines.collect::<String>());
}

fn check_items(items: &str, expect: Expect) {
    check(&format!("package a:b;\ninterface i {{ {items} }}"), expect);
}

#[test]
fn all_findings_are_reported_each_with_its_place() {
    check_items(
        "resource door;
         record state { door: own<door>, grid: list<u8, 4>, names: map<string, u8>, late: future }
         cycle: func();
         upgrade: func(by: result<u8>);
         later: async func();
         wide: func(a: tuple<u8, u8, u8, u8, u8, u8, u8, u8>, b: tuple<u8, u8, u8, u8, u8, u8, u8,
            u8, u8>);",
        expect![[r#"
            "door": resource is not a type that an object can keep
            "list": fixed-length list is not a type that an object can keep
            "map": map is not a type that an object can keep
            "future": future is not a type that an object can keep
            "-": own is not a type that an object can keep
            "cycle": the name cycle is reserved
            "upgrade": the name upgrade is reserved
            "by": by is result<u8>: a parameter has no variant or result in it
            "later": later is not a plain func
            "wide": the parameters of wide take more than 16 core values: put some in a list
        "#]],
    );
}

#[test]
fn the_package_is_one_interface_with_a_state() {
    check(
        "package a:b;",
        expect![[r#"
            "-": no interface: an object's schema is one
        "#]],
    );
    check_items(
        "go: func();",
        expect![[r#"
            "i": no record named state: an object needs one
        "#]],
    );
    check_items(
        "type state = u8;",
        expect![[r#"
            "state": state must be a record
        "#]],
    );
    check_items(
        "enum state {}",
        expect![[r#"
        "state": empty enum
    "#]],
    );
    check_items(
        "enum state { a }",
        expect![[r#"
            "state": state must be a record
        "#]],
    );
    check(
        "package a:b; interface i { record state { a: u8 } } interface j {} world w {}",
        expect![[r#"
            "w": a world: an object's schema is one interface
            "j": another interface: an object's schema is one
        "#]],
    );
    check(
        "package a:b; interface i { record state { a: u8 } } package c:d { interface k {} }",
        expect![[r#"
            "-": 2 packages: a schema is one
            "k": another interface: an object's schema is one
        "#]],
    );
}

#[test]
fn text_that_is_no_wit_is_reported_where_it_goes_wrong() {
    check(
        "",
        expect![[r#"
            "-": no `package` header was found in any WIT file for this package
        "#]],
    );
    check_items(
        "record state { a: u9 }",
        expect![[r#"
            "u9": type `u9` does not exist
        "#]],
    );
    check_items(
        "record state { a: u8, \u{202e}b: u8 }",
        expect![[r#"
        "\u{202e}": the character U+202E, which WIT text may not have
    "#]],
    );
    check_items(
        "record state { a: u8, /* \u{1} */ b: u8 }",
        expect![[r#"
        "\u{1}": the character U+0001, which WIT text may not have
    "#]],
    );
    check_items(
        "record state { a: u8, /* \u{149} */ b: u8 }",
        expect![[r#"
        "ŉ": the character U+0149, which WIT text may not have
    "#]],
    );
    check_items(
        "record state { a: state }",
        expect![[r#"
            "state": type `state` depends on itself
        "#]],
    );
    check_items(
        "record state { a: u8, a: u8 }",
        expect![[r#"
            "a": duplicate field `a`
        "#]],
    );
    check_items(
        "record state { a: u8 ",
        expect![[r#"
            "": expected `type`, `resource` or `func`, found eof
        "#]],
    );
    check_items(
        "use other:things/types.{x}; record state { a: x }",
        expect![[r#"
            "other:things": package 'other:things' not found. known packages: a:b
        "#]],
    );
    check_items(
        "record state { a: u8 } go: func(a: u8, a: u8);",
        expect![[r#"
            "a": param `a` is defined more than once
        "#]],
    );
}

#[test]
fn limits_hold_before_and_after_parsing() {
    let deep = format!("record state {{ a: {}u8{} }}", "list<".repeat(60_000), ">".repeat(10));
    check_items(
        &deep[..deep.len().min(60_000)],
        expect![[r#"
            "<": nested more than 32 deep
        "#]],
    );
    check_items(
        &format!("record state {{ a: {}u8{} }}", "list<".repeat(20), ">".repeat(20)),
        expect![[r#"
            "list": types nested 17 deep: at most 16
        "#]],
    );
    let many = (0..33).map(|at| format!("a{at}")).collect::<Vec<_>>().join(", ");
    check_items(
        &format!("record state {{ a: u8 }} flags f {{ {many} }}"),
        expect![[r#"
        "a32": cannot have more than 32 flags
    "#]],
    );
    check(
        &"x".repeat(limits::SCHEMA_BYTES_MAX + 1),
        expect![[r#"
            "-": the text is 65537 bytes long, and may be 65536
        "#]],
    );
    let mut doubling = String::from("type t0 = tuple<u8, u8>;");
    for level in 1..15 {
        let below = level - 1;
        doubling += &format!("type t{level} = tuple<t{below}, t{below}>;");
    }
    check_items(
        &format!("{doubling} record state {{ a: t14 }}"),
        expect![[r#"
            "t13": a type of 32767 parts: at most 16384
        "#]],
    );
    let long = Schema::parse(&format!(
        "package a:b; interface i {{ record state {{ {}: u8 }} }}",
        "a-23456789".repeat(7)
    ));
    let message = long.unwrap_err().to_string();
    assert!(message.contains("a name of 70 bytes: at most 64"), "{message}");
}

#[test]
fn a_chain_of_names_as_long_as_the_text_may_be_is_no_harm() {
    let mut text = String::from("package a:b; interface i { type a0 = u8;");
    for level in 1..3_000 {
        text += &format!("type a{level} = a{};", level - 1);
    }
    text += "record state { a: a2999 } }";
    let parse = move || match Schema::parse(&text) {
        Ok(schema) => assert_eq!(schema.resolve("a").unwrap().ty().to_string(), "u8"),
        Err(error) => assert!(error.to_string().contains("words and signs"), "{error}"),
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(parse).unwrap().join().unwrap();
}

#[test]
fn mutated_text_never_panics() {
    let mut source = Source::random();
    let words = [
        "<",
        ">",
        "{",
        "}",
        "(",
        ")",
        ",",
        ";",
        ":",
        "list",
        "record",
        "state",
        "%",
        "@",
        "u8",
        "->",
        "/*",
        "*/",
        "//",
        "\"",
        "\u{0}",
        "é",
        "_",
        "func",
        "use",
        "world",
        "package",
        "@since(version = 1.0.0)",
        "include",
        "own",
        "borrow",
        "stream",
        "async",
        "static",
    ];
    let mutate = move || {
        for _ in 0..1_000 {
            let mut text = wit(&mut source);
            for _ in 0..1 + source.below(4) {
                let at = text.floor_char_boundary(source.below(text.len() + 1));
                match source.below(3) {
                    0 => text.insert_str(at, words[source.below(words.len())]),
                    1 => text.truncate(at),
                    _ => {
                        let end = text.floor_char_boundary((at + source.below(30)).min(text.len()));
                        text.replace_range(at..end, "");
                    }
                }
            }
            if let Err(error) = Schema::parse(&text) {
                let ErrorKind::Schema(findings) = error.kind() else { panic!("{error}") };
                assert!(!findings.is_empty());
                let mut spans = findings.iter().filter_map(|finding| finding.span.clone());
                assert!(spans.all(|span| text.get(span).is_some()), "{findings:?}");
            }
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(mutate).unwrap().join().unwrap();
}

#[test]
fn a_finding_has_line_and_column_and_quotes_its_line() {
    let text = "package a:b;\ninterface i {\n    record state { a: u9 }\n}\n";
    let error = Schema::parse(text).unwrap_err();
    expect!["schema: 3:23: type `u9` does not exist"].assert_eq(&error.to_string());
    let ErrorKind::Schema(findings) = error.kind() else { panic!("{error}") };
    let quoted: Vec<String> = findings.iter().flat_map(|it| it.quoted().unwrap()).collect();
    assert_eq!(quoted, ["    record state { a: u9 }", "                      ^^"]);
}
