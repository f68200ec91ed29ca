//! The public face of the crate `continuant`: which items it has, and which methods block.
//!
//! It reads source as text and knows no Rust.

use std::collections::BTreeSet;
use std::fs;

use super::{check, code, is_test, root, sources};

/// The names that `engine/src/lib.rs` makes public, without those of the feature `internals`.
fn public(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_internal = false;
    let mut open: Option<String> = None;
    for line in source.lines().map(str::trim) {
        let statement = match open.take() {
            Some(begun) => format!("{begun} {line}"),
            None => line.to_string(),
        };
        if statement.starts_with("pub ") && !statement.ends_with(';') {
            open = Some(statement);
            continue;
        }
        if statement.starts_with("pub ") && !is_internal {
            names.extend(named(&statement));
        }
        is_internal = statement == "#[cfg(feature = \"internals\")]";
    }
    names
}

/// The names that a statement such as `pub use a::{B, C as D};` makes public.
fn named(statement: &str) -> Vec<String> {
    let body = statement.trim_start_matches("pub ").trim_end_matches(';');
    let (kind, path) = body.split_once(' ').expect("an item has a keyword and a name");
    if kind != "use" {
        let name = path.split(|c: char| !c.is_alphanumeric() && c != '_').next();
        return name.map(str::to_string).into_iter().collect();
    }
    let (prefix, items) = match path.split_once('{') {
        Some((prefix, items)) => (prefix.trim_end_matches("::"), items.trim_end_matches('}')),
        None => path.rsplit_once("::").expect("a path has two parts"),
    };
    let items = items.split(',').map(str::trim).filter(|item| !item.is_empty());
    let names = items.map(|item| match item.rsplit_once(" as ") {
        Some((_, name)) => name,
        None if item == "self" => prefix.rsplit("::").next().expect("a path has a last part"),
        None => item,
    });
    names.map(str::to_string).collect()
}

#[test]
fn the_public_items_are_those_of_the_list() {
    let source = fs::read_to_string(root().join("engine/src/lib.rs")).unwrap();
    let list = fs::read_to_string(root().join("engine/public.txt")).unwrap();
    let listed: BTreeSet<String> = list.lines().map(str::to_string).collect();
    let found = public(&source);
    assert!(found.len() > 50, "the items are found");
    assert_eq!(list.lines().count(), listed.len(), "a name is in the list once");
    let missing = listed.difference(&found).map(|name| format!("{name} is in the list alone"));
    let new = found.difference(&listed).map(|name| format!("{name} is not in the list"));
    check(
        "engine/public.txt has what engine/src/lib.rs makes public",
        missing.chain(new).collect(),
    );
}

#[test]
fn names_are_found_in_every_form_of_an_item() {
    let source = "\
        pub use a::b::C;\n\
        pub use d::{self, E,\n    F as G,\n};\n\
        pub mod h;\n\
        #[cfg(feature = \"internals\")]\n\
        pub mod i;\n\
        #[cfg(feature = \"internals\")]\n\
        pub use {j, k};\n\
        mod l;\n\
        pub use m::N;\n";
    let expected = ["C", "d", "E", "G", "h", "N"].map(str::to_string);
    assert_eq!(public(source), expected.into_iter().collect());
}

/// The modules that are public with the feature `internals` alone.
fn internal_modules(source: &str) -> Vec<&str> {
    let lines: Vec<&str> = source.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == "#[cfg(feature = \"internals\")]");
    let modules = pairs.filter_map(|pair| pair[1].strip_prefix("pub mod "));
    modules.map(|module| module.trim_end_matches(';')).collect()
}

/// The names that a module exports by `pub use`, and the rest of its text.
fn exports(source: &str) -> (Vec<String>, String) {
    let (mut names, mut rest) = (Vec::new(), String::new());
    let mut open = String::new();
    for line in source.lines() {
        if open.is_empty() && !line.starts_with("pub use ") {
            rest += line;
            rest.push('\n');
            continue;
        }
        open += line.trim();
        if open.ends_with(';') {
            names.extend(named(&std::mem::take(&mut open)));
        }
    }
    (names, rest)
}

/// Returns whether a text has a name, as a word.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// Without the feature, an export that nothing inside takes is an import that nothing uses, which
/// a build of the whole workspace, where the feature is on, does not tell.
#[test]
fn an_export_for_internals_is_used_without_them() {
    let library = fs::read_to_string(root().join("engine/src/lib.rs")).unwrap();
    let sources: Vec<_> = sources().into_iter().filter(|(path, _)| !is_test(path)).collect();
    let modules = internal_modules(&library);
    assert_eq!(modules, ["instrument"], "the modules are found");
    let mut broken = Vec::new();
    for module in modules {
        let (file, folder) = (format!("engine/src/{module}.rs"), format!("engine/src/{module}/"));
        let own = fs::read_to_string(root().join(&file)).unwrap();
        let (names, rest) = exports(&own);
        assert!(names.len() > 10, "the exports are found: {names:?}");
        let outside = sources.iter().filter(|(path, _)| {
            path.starts_with("engine/src/") && *path != file && !path.starts_with(&folder)
        });
        let texts = outside.map(|(_, text)| code(text).join("\n")).chain([rest]);
        let texts: Vec<String> = texts.collect();
        let unused = names.iter().filter(|name| !texts.iter().any(|text| has_word(text, name)));
        broken.extend(unused.map(|name| format!("{file} exports {name}")));
    }
    check("what is exported for `internals` is used without them too", broken);
}

#[test]
fn exports_are_told_from_the_rest() {
    let source = "mod b;\npub use a::B;\npub use c::{\n    D, E as F,\n};\nuse g::H;\n";
    let (names, rest) = exports(source);
    assert_eq!((names.join(" "), &*rest), ("B D F".to_string(), "mod b;\nuse g::H;\n"));
    assert!(has_word("a B_C(B)", "B") && !has_word("B_C Bs", "B"));
    let library = "#[cfg(feature = \"internals\")]\npub mod i;\npub mod j;\n";
    assert_eq!(internal_modules(library), ["i"]);
}

/// The methods of `Database` that return without waiting for the disk or a worker.
const AT_ONCE: &[&str] = &[
    "advance_clock",
    "batch",
    "dead_letters",
    "drop_session",
    "due",
    "history",
    "hold_session",
    "is_on_its_way",
    "losses",
    "message_count",
    "metrics",
    "next_wake",
    "now",
    "objects",
    "open_session",
    "outbox",
    "outboxes",
    "overdue",
    "reader",
    "transaction",
    "upgrade_all",
    "wake_count",
];

/// The public methods of a file, with their documentation.
fn documented(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut documentation = String::new();
    for line in source.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            documentation.push_str(words);
        } else if let Some(name) = line.strip_prefix("pub fn ") {
            let end = name.find(['<', '(']).unwrap_or(name.len());
            found.push((name[..end].to_string(), std::mem::take(&mut documentation)));
        } else if !line.starts_with("#[") {
            documentation.clear();
        }
    }
    found
}

#[test]
fn every_method_of_a_database_that_blocks_says_so() {
    let files = ["database", "database/messages", "database/outbox", "database/sessions"];
    let files = files.iter().chain(&["database/upkeep"]);
    let mut broken = Vec::new();
    let mut at_once = BTreeSet::new();
    for file in files {
        let path = root().join("engine/src").join(file).with_extension("rs");
        let source = fs::read_to_string(path).unwrap();
        for (name, documentation) in documented(&source) {
            let says = documentation.contains("*Blocks*");
            let is_at_once = AT_ONCE.contains(&name.as_str());
            match (says, is_at_once) {
                (true, true) => broken.push(format!("{name} says that it blocks")),
                (false, false) => broken.push(format!("{name} does not say whether it blocks")),
                (_, true) => drop(at_once.insert(name)),
                (_, false) => {}
            }
        }
    }
    assert_eq!(at_once.len(), AT_ONCE.len(), "every method of the list is found: {at_once:?}");
    check("a method that blocks has *Blocks* in its documentation", broken);
}
