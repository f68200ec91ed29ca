//! The imports between the files of a crate: by `use`, and by paths that begin with `crate`,
//! `super`, `self` or the name of a module below the file.
//!
//! It reads source as text. It does not follow imports written by a macro or through a re-export of
//! another file: the file that re-exports counts as imported then. To re-export what a module below
//! has is to be its door, and no import.

use std::collections::{BTreeMap, BTreeSet};

/// The files of one crate, as modules: `log::writer` for `src/log/writer.rs`, and "" for the root.
pub(crate) struct Crate {
    texts: BTreeMap<String, String>,
}

/// The imported modules of each module.
pub(crate) type Imports = BTreeMap<String, BTreeSet<String>>;

impl Crate {
    /// The crate whose sources are below `folder`, of files with their paths and texts. Files of
    /// tests are left out, and unit tests within a file.
    pub(crate) fn of(folder: &str, sources: &[(String, String)]) -> Crate {
        let mut texts = BTreeMap::new();
        for (path, text) in sources {
            let Some(path) = path.strip_prefix(folder).and_then(|path| path.strip_suffix(".rs"))
            else {
                continue;
            };
            let module = path.trim_start_matches('/').replace('/', "::");
            let is_test = matches!(module.rsplit("::").next(), Some("tests" | "schedules"));
            if is_test {
                continue;
            }
            let module = if matches!(&*module, "lib" | "main") { String::new() } else { module };
            texts.insert(module, plain(&super::code(text)));
        }
        Crate { texts }
    }

    /// Returns the imports of each module within the crate, except itself and the root.
    pub(crate) fn imports(&self) -> Imports {
        let each = self.texts.iter().map(|(module, text)| {
            let paths = paths(text);
            let imported = paths.iter().filter_map(|path| self.resolve(module, path));
            let imported = imported.filter(|found| found != module && !found.is_empty());
            (module.clone(), imported.collect())
        });
        each.filter(|(module, _)| !module.is_empty()).collect()
    }

    /// The module that a path leads to, seen from `module`: the longest that there is.
    fn resolve(&self, module: &str, path: &str) -> Option<String> {
        let mut steps = path.split("::").peekable();
        let mut at: Vec<&str> = Vec::new();
        let inside = module.split("::").filter(|name| !name.is_empty());
        match steps.next()? {
            "crate" => {}
            "self" => at.extend(inside),
            "super" => {
                at.extend(inside);
                at.pop();
                while steps.next_if_eq(&"super").is_some() {
                    at.pop();
                }
            }
            below => {
                at.extend(inside);
                at.push(below);
                if !self.texts.contains_key(&at.join("::")) {
                    return None;
                }
            }
        }
        at.extend(steps);
        (0..=at.len())
            .rev()
            .map(|count| at[..count].join("::"))
            .find(|it| self.texts.contains_key(it))
    }
}

/// A text without its comments, strings included: a path in a string is no import.
fn plain(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| line.split("//").next().expect("a split has a part"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a text, except of what it re-exports from modules below it.
fn paths(text: &str) -> Vec<String> {
    let (mut found, mut other, mut rest) = (Vec::new(), String::new(), text);
    while let Some(at) = rest.find("use ") {
        let before = &rest[..at];
        let is_word = before.chars().next_back().is_none_or(char::is_whitespace);
        let is_door = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
        other += before;
        rest = &rest[at + "use ".len()..];
        if let Some(end) = rest.find(';').filter(|_| is_word) {
            let flat: Vec<&str> = rest[..end].split_whitespace().collect();
            let mut used = Vec::new();
            expand("", &flat.join(" "), &mut used);
            used.retain(|path| {
                !is_door || path.starts_with("crate::") || path.starts_with("super::")
            });
            found.append(&mut used);
            rest = &rest[end..];
        }
    }
    other += rest;
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = other.split(|c| !is_part(c)).filter(|word| word.contains("::"));
    found.extend(words.map(str::to_string));
    found
}

/// Adds each path of a `use` behind a prefix.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().expect("a split has a part").trim();
        found.push(format!("{before}{path}"));
        return;
    };
    let before = format!("{before}{}", head.trim());
    let inside = inside.strip_suffix('}').unwrap_or(inside);
    let (mut depth, mut start) = (0, 0);
    for (at, letter) in inside.char_indices().chain([(inside.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inside[start..at].trim();
                if !part.is_empty() {
                    expand(&before, part, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Imports that go up or along: of a folder that is not on a floor below. A folder is a module of
/// the root with all that is in it; floors are listed from the top.
pub(crate) fn climbs(imports: &Imports, floors: &[&[&str]]) -> Vec<String> {
    let folder = |module: &str| module.split("::").next().expect("a split has a part").to_string();
    let floor = |folder: &str| floors.iter().position(|floor| floor.contains(&folder));
    let mut climbs = BTreeSet::new();
    for (module, imported) in imports {
        let from = folder(module);
        if floor(&from).is_none() {
            climbs.insert(format!("{from} is on no floor"));
        }
        for to in imported.iter().map(|to| folder(to)).filter(|to| *to != from) {
            if floor(&to) <= floor(&from) {
                climbs.insert(format!("{module} imports {to}"));
            }
        }
    }
    climbs.into_iter().collect()
}

/// Modules that import one another, directly or through others: each circle once.
pub(crate) fn circles(imports: &Imports) -> Vec<BTreeSet<String>> {
    let reach = |from: &str| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from.to_string()]);
        while let Some(module) = left.pop() {
            for next in imports.get(&module).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    left.push(next.clone());
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<String>> =
        imports.keys().map(|module| (module, reach(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, reached) in &all {
        let back = reached.iter().filter(|it| all.get(it).is_some_and(|it| it.contains(*module)));
        let circle: BTreeSet<String> = back.cloned().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

#[test]
fn paths_of_all_forms_are_found() {
    let text = "use crate::log::{Position, frame::{self, Seal as Check}};\n\
                pub use row::Row; pub(crate) use crate::disk::Disk;\n\
                fn f() -> super::Row { row::open() } // crate::no\n";
    let lines: Vec<&str> = text.lines().collect();
    let found = paths(&plain(&lines));
    assert_eq!(
        found,
        [
            "crate::log::Position",
            "crate::log::frame::self",
            "crate::log::frame::Seal",
            "crate::disk::Disk",
            "super::Row",
            "row::open"
        ]
    );
}

#[test]
fn a_circle_of_four_is_one_circle() {
    let sources = [
        ("c/src/a.rs", "use crate::b::B;"),
        ("c/src/b.rs", "use crate::d::D;"),
        ("c/src/d.rs", "mod e;\nfn d() { e::open() }"),
        ("c/src/d/e.rs", "use super::super::a::A; use crate::f::F;"),
        ("c/src/f.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}"),
    ];
    let sources = sources.map(|(path, text)| (path.to_string(), text.to_string()));
    let circles = circles(&Crate::of("c/src", &sources).imports());
    let expected = ["a", "b", "d", "d::e"].map(str::to_string).into_iter().collect();
    assert_eq!(circles, [expected]);
}

#[test]
fn what_goes_up_or_along_is_found() {
    let sources = [
        ("c/src/top/a.rs", "use crate::low::L; use crate::top::b::B;"),
        ("c/src/top/b.rs", "use crate::side::S;"),
        ("c/src/side.rs", "use crate::low::L;"),
        ("c/src/low.rs", "fn f(_: crate::top::a::A) {}"),
        ("c/src/lost.rs", ""),
    ];
    let sources = sources.map(|(path, text)| (path.to_string(), text.to_string()));
    let imports = Crate::of("c/src", &sources).imports();
    let climbs = climbs(&imports, &[&["top", "side"], &["low"]]);
    assert_eq!(climbs, ["lost is on no floor", "low imports top", "top::b imports side"]);
}
