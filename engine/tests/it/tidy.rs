//! The walls of the house: layout, imports, sizes and names, checked over the whole tree.
//!
//! It reads source as text and knows no Rust; each wall says which file breaks it and how.

mod documents;
mod face;
mod imports;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files in which `unsafe` may stand, each for a reason given in the file.
const UNSAFE_FILES: &[&str] = &[
    "benches/compare/src/lmdb.rs",
    "engine/src/substrate/cache.rs",
    "guest/macros/src/emit.rs",
    "guest/src/bytes.rs",
    "guest/src/host.rs",
    "guest/src/object.rs",
    "guest/src/texts.rs",
];
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 1000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every Rust file of the tree, with its path below the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        // Cargo's output is in a folder beside a manifest; others may have the same name.
        let has_manifest = folder.join("Cargo.toml").exists();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            if path.is_dir() {
                let is_built = has_manifest && name == "target";
                if !is_built && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_str().unwrap().into(), text));
            }
        }
    }
    assert!(found.len() > 50, "the tree is found");
    found.sort();
    found
}

/// The lines of a file before its unit tests, if it has them inside.
fn code(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let is_end = |pair: &[&str]| {
        pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    };
    let end = lines.windows(2).position(is_end).unwrap_or(lines.len());
    lines[..end].to_vec()
}

/// Returns whether a line begins a function.
fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifiers = ["const", "async", "unsafe", "extern", "\"C\""];
    let mut word = words.next();
    if word.is_some_and(|word| word == "pub" || word.starts_with("pub(")) {
        word = words.next();
    }
    while word.is_some_and(|word| qualifiers.contains(&word)) {
        word = words.next();
    }
    word == Some("fn")
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// The fewest asserts in 10,000 lines of a crate's code: the number only rises.
const ASSERTS_MIN: &[(&str, u64)] = &[
    ("benches", 11),
    ("benches/compare", 0),
    ("cli", 29),
    ("engine", 39),
    ("engine/macros", 0),
    ("fuzz", 2),
    ("guest", 20),
    ("guest/examples/aircraft", 0),
    ("guest/examples/counter", 0),
    ("guest/examples/parcel", 0),
    ("guest/examples/price", 0),
    ("guest/examples/purse", 0),
    ("guest/examples/tally", 0),
    ("guest/examples/vault", 0),
    ("guest/macros", 35),
    ("names", 280),
    ("object", 80),
    ("policy", 37),
    ("query", 47),
    ("schedules", 0),
    ("schema", 53),
    ("storage", 102),
];

/// The crates that people take, and asserts in 10,000 lines of all their code.
const PRODUCT: [&str; 11] = [
    "cli",
    "engine",
    "engine/macros",
    "guest",
    "guest/macros",
    "names",
    "object",
    "policy",
    "query",
    "schema",
    "storage",
];
const PRODUCT_ASSERTS_MIN: u64 = 60;

/// The crate whose code a file is, if it is a crate's.
fn crate_of(path: &str) -> Option<&str> {
    path.split_once("/src/").map(|(name, _)| name)
}

/// Lines of a file's code, and those of them that assert something.
fn asserts(text: &str) -> (u64, u64) {
    let names = ["assert", "assert_eq", "assert_ne"];
    let is_name = |name: &str| names.contains(&name.strip_prefix("debug_").unwrap_or(name));
    let word = |before: &str| {
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        before.rsplit(|letter| !is_part(letter)).next().is_some_and(is_name)
    };
    let (mut lines, mut found) = (0, 0);
    for line in code(text).iter().map(|line| line.trim()) {
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        lines += 1;
        found += u64::from(line.match_indices("!(").any(|(at, _)| word(&line[..at])));
    }
    (lines, found)
}

#[track_caller]
fn check(wall: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{wall}:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let broken = sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    check("a file opens with //!", broken.map(|(path, _)| path).collect());
}

#[test]
fn files_and_lines_are_short() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let lines = code(&text).len();
        if lines > FILE_LINES_MAX && !is_test(&path) {
            broken.push(format!("{path}: {lines} lines"));
        }
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                broken.push(format!("{path}:{}: {} columns", index + 1, line.chars().count()));
            }
        }
    }
    check("a file has at most 1000 lines of at most 100 columns", broken);
}

/// Returns whether the text that a line opens and does not close goes on, in the line below,
/// further right than it began: formatting moved its beginning and left the rest behind.
fn is_torn(line: &str, below: &str) -> bool {
    let Some(begun) = line.strip_suffix('\\') else { return false };
    let (mut opened, mut is_escaped) = (None, false);
    for (at, letter) in begun.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => opened = if opened.is_none() { Some(at) } else { None },
            _ => {}
        }
    }
    let indent = below.len() - below.trim_start().len();
    opened.is_some_and(|opened| indent > opened + 1)
}

#[test]
fn texts_go_on_below_their_beginning() {
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, pair) in lines.windows(2).enumerate() {
            if is_torn(pair[0], pair[1]) {
                broken.push(format!("{path}:{}", index + 2));
            }
        }
    }
    check("a text of two lines can be read: bind it to a name before it is used", broken);
}

#[test]
fn torn_texts_are_found() {
    let opens = "    let text = \"a \\\"b\\\", \\";
    assert!(is_torn(opens, "                  c\";"));
    assert!(!is_torn(opens, "                c\";"));
    assert!(!is_torn("    let text = \"a\";", "                      c\";"));
    assert!(!is_torn("    /// a \\", "                      c"));
}

#[test]
fn functions_fit_a_screen() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let opens = lines[start..].iter().find(|line| line.ends_with(['{', '}', ';']));
            let is_declared_only = opens.is_some_and(|line| line.ends_with(';'));
            if !is_function(line) || is_declared_only {
                continue;
            }
            let close = format!("{}}}", " ".repeat(indent));
            let length = lines[start..].iter().position(|line| *line == close);
            if let Some(length) = length.filter(|length| length + 1 > FUNCTION_LINES_MAX) {
                broken.push(format!("{path}:{}: {} lines", start + 1, length + 1));
            }
        }
    }
    check("a function has at most 70 lines", broken);
}

#[test]
fn comments_are_understood_the_first_time() {
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tidy/words.rs")) {
        let found = words::riddles(&text).into_iter();
        broken.extend(found.map(|(line, riddle)| format!("{path}:{line}: {riddle}")));
    }
    check("a comment's first sentence says what the item is or does, in plain words", broken);
}

#[test]
fn no_file_is_a_drawer_for_odds_and_ends() {
    let banned = ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs", "manager.rs"];
    let broken = sources().into_iter().map(|(path, _)| path);
    let broken = broken.filter(|path| {
        banned.iter().chain(&["misc.rs"]).any(|name| path.rsplit('/').next() == Some(name))
    });
    check("a file is called by what is in it", broken.collect());
}

#[test]
fn unsafe_stands_only_where_it_is_listed_and_reasoned() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let word = code.split(|c: char| !c.is_alphanumeric() && c != '_');
            let quoted = code.contains("\"unsafe") || path.ends_with("tidy.rs");
            let is_unsafe = !quoted && word.into_iter().any(|word| word == "unsafe");
            if is_unsafe && !UNSAFE_FILES.contains(&path.as_str()) {
                broken.push(format!("{path}:{}: unsafe in a file not listed", index + 1));
            }
        }
    }
    check("unsafe is where the list says", broken);
}

#[test]
fn tests_are_never_switched_off() {
    let banned = ["#[ignore", "#[should_panic", "thread::sleep", "todo!(", "unimplemented!("];
    // The figures of an idle database have to wait.
    let waits = ["benches/src/timing.rs", "engine/tests/it/tidy.rs"];
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !waits.contains(&path.as_str())) {
        for word in banned.iter().filter(|word| text.contains(**word)) {
            broken.push(format!("{path}: {word}"));
        }
    }
    check("no test is ignored, expected to panic, or asleep", broken);
}

#[test]
fn a_library_is_named_only_in_its_own_folder() {
    let homes: &[(&str, &[&str])] = &[
        (
            // Locks have ranks.
            "parking_lot::",
            &["storage/src/lock.rs", "storage/src/log/schedules.rs", "engine/src/run/schedules.rs"],
        ),
        ("jiff::", &["object/src/time.rs"]),
        ("pkcs8::", &["cli/src/keyfile"]),
        ("ssh_key::", &["cli/src/keyfile"]),
        ("redb::", &["storage/src/rows/index", "benches/"]),
        (
            "wasmtime::",
            &["engine/src/substrate", "fuzz/src/targets/instrument", "benches/src/floor/"],
        ),
        ("cedar_policy", &["policy/src/cedar"]),
        ("wit_parser", &["schema/src/parse.rs", "schema/tests/it/canonical_abi.rs", "fuzz/"]),
    ];
    let mut broken = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tidy.rs")) {
        for (word, homes) in homes {
            let named = text.lines().map(|line| line.split("//").next().unwrap());
            let named = named.into_iter().any(|line| line.contains(word));
            if named && !homes.iter().any(|home| path.starts_with(home)) {
                broken.push(format!("{path}: {word}"));
            }
        }
    }
    check(
        "redb, wasmtime, Cedar, jiff, the WIT library, the libraries of other programs' keys and \
         parking_lot each have one folder",
        broken,
    );
}

#[test]
fn code_asserts_what_it_relies_on() {
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let sources = sources();
    // Modules that are compiled for tests alone.
    let for_tests: Vec<String> = sources
        .iter()
        .flat_map(|(path, text)| {
            let folder = path.strip_suffix(".rs").unwrap().strip_suffix("/lib");
            let folder = folder.unwrap_or(path.strip_suffix(".rs").unwrap()).to_string();
            let lines: Vec<&str> = text.lines().collect();
            let is_one = |pair: &&[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with(';');
            let name =
                |pair: &[&str]| pair[1].trim_end_matches(';').rsplit(' ').next().map(String::from);
            let names: Vec<String> = lines.windows(2).filter(is_one).filter_map(name).collect();
            names.into_iter().map(move |name| format!("{folder}/{name}.rs"))
        })
        .collect();
    for (path, text) in &sources {
        let Some(name) = crate_of(path).filter(|_| !is_test(path)) else { continue };
        if !for_tests.contains(path) {
            let (lines, found) = asserts(text);
            let count = counts.entry(name.to_string()).or_default();
            *count = (count.0 + lines, count.1 + found);
        }
    }
    let mut broken = Vec::new();
    let product = counts.iter().filter(|count| PRODUCT.contains(&&**count.0));
    let (lines, found) = product.fold((0, 0), |sum, (_, one)| (sum.0 + one.0, sum.1 + one.1));
    if found * 10_000 < PRODUCT_ASSERTS_MIN * lines {
        broken.push(format!("the product: {found} in {lines} lines"));
    }
    for (name, (lines, found)) in counts {
        let rate = found * 10_000 / lines;
        match ASSERTS_MIN.iter().find(|known| known.0 == name) {
            Some((_, min)) if rate >= *min => {}
            Some((_, min)) => broken.push(format!("{name}: {rate}, at least {min}")),
            None => broken.push(format!("{name}: {rate}, not in the list")),
        }
    }
    check("asserts in 10,000 lines of code do not become fewer", broken);
}

#[test]
fn asserts_are_seen_where_they_are_code() {
    let text = [
        "//! assert!(true)",
        "",
        "    assert!(is_so, \"so\");",
        "    // assert!(is_so);",
        "    debug_assert_eq!(",
        "    if x { assert_ne!(one, other) }",
        "    my_assert!(is_so); assertion(is_so); \"assert\";",
        "#[cfg(test)]",
        "mod tests {",
        "    assert!(is_so);",
    ];
    assert_eq!(asserts(&text.join("\n")), (4, 3));
    assert_eq!(crate_of("engine/macros/src/derive.rs"), Some("engine/macros"));
    assert_eq!(crate_of("guest/assemble.rs"), None);
}

#[test]
fn functions_are_seen_whatever_they_begin_with() {
    for line in [
        "fn f() {",
        "    pub const fn f() {",
        "pub(crate) async fn f(",
        "pub(super) unsafe fn f(",
        "    pub unsafe extern \"C\" fn f(",
    ] {
        assert!(is_function(line), "{line}");
    }
    for line in ["let fn_ = 3;", "const N: fn() = f;", "pub struct S {", "type F = fn(u8);"] {
        assert!(!is_function(line), "{line}");
    }
}

/// The floors of crates, from the top: a folder imports only what is on the floors below its own.
const FLOORS: &[(&str, &[&[&str]])] = &[
    (
        "object/src",
        &[
            &["authentication", "headers"],
            &["commit", "evidence", "head"],
            &["image", "ledger", "refusal", "secret"],
            &["effects", "input"],
            &["credential"],
            &["ancestry", "request"],
            &["capsule", "header", "memory", "message"],
            &["hash"],
            &["codec"],
            &["error"],
            &["diagnostic", "limits", "lineage", "time"],
        ],
    ),
    (
        "schema/src",
        &[
            &["write"],
            &["schema"],
            &["parse"],
            &["lower", "transcribe"],
            &["excerpt", "payload", "place"],
            &["read", "store"],
            &["json", "shape"],
            &["method", "migrate", "scalar"],
            &["fault", "types"],
            &["code", "layout", "scan", "value"],
        ],
    ),
    (
        "policy/src",
        &[
            &["reading", "verify"],
            &["admission"],
            &["definition"],
            &["policy"],
            &["law"],
            &["cedar"],
            &["derived", "form", "guard", "profile", "program"],
            &["action"],
            &["explain", "fact"],
            &["argument"],
            &["decision", "facts", "shape"],
        ],
    ),
    (
        "engine/src",
        &[
            &["database", "fuzz"],
            &["ask"],
            &["audit"],
            &["commit"],
            &["run"],
            &["head"],
            &["answer", "credentials", "options", "step"],
            &["stack"],
            &["error"],
            &["substrate"],
            &["clock", "instrument", "metrics", "rank", "samples"],
        ],
    ),
    (
        "storage/src",
        &[
            &["upkeep"],
            &["write"],
            &["read"],
            &["store"],
            &["rows"],
            &["record"],
            &["log"],
            &["options"],
            &["disk"],
            &["error", "lock"],
        ],
    ),
    (
        "query/src",
        &[&["blame", "diff", "state"], &["dead_letters", "history", "objects", "snapshot"]],
    ),
];

#[test]
fn a_folder_imports_what_is_below_it() {
    let sources = sources();
    let mut broken = Vec::new();
    for (folder, floors) in FLOORS {
        let imports = imports::Crate::of(folder, &sources).imports();
        let climbs = imports::climbs(&imports, floors);
        broken.extend(climbs.into_iter().map(|climb| format!("{folder}: {climb}")));
    }
    check("a folder imports only what is on the floors below it", broken);
}

/// The most files that may import one another in a circle, of each crate.
const CIRCLES_MAX: &[(&str, usize)] = &[
    ("names/src", 0),
    ("object/src", 0),
    ("schema/src", 0),
    ("policy/src", 2),
    ("storage/src", 0),
    ("query/src", 0),
    ("engine/src", 0),
    ("engine/macros/src", 0),
    ("guest/src", 0),
    ("guest/macros/src", 0),
    ("cli/src", 2),
    ("benches/src", 2),
    ("fuzz/src", 4),
    ("schedules/src", 0),
];

#[test]
fn files_do_not_import_in_circles() {
    let sources = sources();
    let mut broken = Vec::new();
    for (folder, most) in CIRCLES_MAX {
        let imports = imports::Crate::of(folder, &sources).imports();
        let circles = imports::circles(&imports);
        for circle in circles.iter().filter(|circle| circle.len() > *most) {
            broken.push(format!("{folder}: {} files: {circle:?}", circle.len()));
        }
        // The number only falls.
        let largest = circles.iter().map(|circle| circle.len()).max().unwrap_or(0);
        if largest < *most {
            broken.push(format!("{folder}: the largest circle is {largest}: say so in the list"));
        }
    }
    check("files of a crate do not import one another in circles", broken);
}

#[test]
fn imports_run_one_way() {
    // The packages of the workspace that each manifest may name, outside its tests.
    let walls: &[(&str, &[&str])] = &[
        ("names", &[]),
        ("object", &[]),
        ("schema", &["object"]),
        ("policy", &["object", "schema"]),
        ("storage", &["object", "schema", "policy"]),
        ("query", &["object", "schema", "policy", "storage"]),
        ("engine", &["macros", "object", "schema", "policy", "storage", "query"]),
        ("engine/macros", &["names"]),
        ("guest", &["macros"]),
        ("guest/macros", &["names"]),
        ("cli", &["continuant"]),
        ("benches", &["continuant"]),
        ("docs", &[]),
        ("fuzz", &["continuant", "object", "schema", "policy", "storage"]),
        ("schedules", &[]),
    ];
    let ours = [
        "names",
        "object",
        "schema",
        "policy",
        "storage",
        "query",
        "continuant",
        "macros",
        "cli",
        "benches",
        "fuzz",
        "schedules",
    ];
    let mut broken = Vec::new();
    for (folder, allowed) in walls {
        let manifest = root().join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap();
            let imported = section == "[dependencies]" && ours.contains(&name);
            if imported && !allowed.contains(&name) {
                broken.push(format!("{folder} imports {name}"));
            }
            if line.contains("path = \"..") {
                broken.push(format!("{folder}: {line}"));
            }
        }
    }
    check("imports run one way, by workspace = true", broken);
}
