//! WIT text: packages drawn from a grammar, mutations of the guests' schemas, and text that is deep
//! or wide beyond the limits.
//!
//! It does not know which texts are valid.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::GUESTS;
use crate::generate::bytes::mutate_text;

const WORDS: &[&str] = &[
    "package",
    "interface",
    "record",
    "state",
    "func",
    "enum",
    "flags",
    "variant",
    "option",
    "list",
    "tuple",
    "result",
    "type",
    "use",
    "world",
    "import",
    "export",
    "resource",
    "own",
    "borrow",
    "static",
    "constructor",
    "create",
    "u8",
    "u32",
    "u64",
    "s64",
    "f64",
    "bool",
    "char",
    "string",
    "_",
    "->",
    "{",
    "}",
    "(",
    ")",
    "<",
    ">",
    ",",
    ";",
    ":",
    "=",
    "@",
    ".",
    "/",
    "%",
    "//",
    "/*",
    "*/",
    "1.0.0",
    "\n",
    "é",
    "\u{0}",
    "\u{202e}",
    "stream",
    "future",
    "async",
    "error-context",
    "include",
];
const SCALARS: &[&str] =
    &["bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "string"];

/// Some text.
pub(crate) fn text(rng: &mut StdRng) -> String {
    match rng.random_range(0..10) {
        0..5 => package(rng),
        5..8 => {
            let (wasm, _) = GUESTS[rng.random_range(0..GUESTS.len())];
            let facts = schema::code::read(wasm).expect("the guests are objects");
            mutate_text(rng, &facts.schema_text, WORDS)
        }
        8 => {
            let of = package(rng);
            mutate_text(rng, &of, WORDS)
        }
        _ => (0..rng.random_range(0..80))
            .flat_map(|_| [WORDS[rng.random_range(0..WORDS.len())], " "])
            .collect(),
    }
}

/// Draws a package of random types, most of which an object may have.
pub(crate) fn package(rng: &mut StdRng) -> String {
    let mut text = String::from("package a:b@1.2.3;\ninterface thing {\n");
    let mut named = Vec::new();
    for index in 0..rng.random_range(0..6) {
        let name = format!("n{index}");
        definition(rng, &mut text, &name, &named);
        named.push(name);
    }
    text += "record state {\n";
    for index in 0..rng.random_range(0..8) {
        let depth = if rng.random_bool(0.05) { 20 } else { 3 };
        text += &format!("f{index}: {},\n", ty(rng, &named, depth));
    }
    text += "}\n";
    for index in 0..rng.random_range(0..4) {
        let count = rng.random_range(0..5);
        let params = (0..count).map(|at| format!("p{at}: {}", ty(rng, &named, 2)));
        let params = params.collect::<Vec<_>>().join(", ");
        let result = match rng.random_range(0..3) {
            0 => String::new(),
            _ => format!(" -> {}", ty(rng, &named, 2)),
        };
        let name = if index == 0 { "create".to_string() } else { format!("m{index}") };
        text += &format!("{name}: func({params}){result};\n");
    }
    text + "}\n"
}

fn definition(rng: &mut StdRng, text: &mut String, name: &str, named: &[String]) {
    let count = match rng.random_range(0..20) {
        0 => rng.random_range(250..1100),
        1 => 0,
        _ => rng.random_range(1..6),
    };
    let plain =
        |mark: &str| (0..count).map(|at| format!("c{at}{mark}")).collect::<Vec<_>>().join(", ");
    *text += &match rng.random_range(0..5) {
        0 => format!("enum {name} {{ {} }}\n", plain("")),
        1 => format!("flags {name} {{ {} }}\n", plain("")),
        2 => format!("type {name} = {};\n", ty(rng, named, 2)),
        3 => {
            let of = ty(rng, named, 2);
            format!("variant {name} {{ {} }}\n", plain(&format!("({of})")))
        }
        _ => {
            let of = ty(rng, named, 2);
            format!("record {name} {{ {} }}\n", plain(&format!(": {of}")))
        }
    };
}

fn ty(rng: &mut StdRng, named: &[String], depth: u32) -> String {
    let plain = depth == 0 || rng.random_bool(0.3);
    if plain && !named.is_empty() && rng.random_bool(0.4) {
        return named[rng.random_range(0..named.len())].clone();
    }
    if plain {
        return SCALARS[rng.random_range(0..SCALARS.len())].to_string();
    }
    let inner = ty(rng, named, depth - 1);
    match rng.random_range(0..5) {
        0 => format!("list<{inner}>"),
        1 => format!("option<{inner}>"),
        2 => format!("tuple<{inner}, u8>"),
        3 => format!("result<{inner}, string>"),
        _ => format!("result<_, {inner}>"),
    }
}
