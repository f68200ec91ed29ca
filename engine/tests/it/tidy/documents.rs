//! The documents name files that are there.
//!
//! It reads text and knows no Markdown but links and code spans.

use std::fs;
use std::path::Path;

use super::{check, root};

/// The documents at the top of the tree, the guide, and those of the crates.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(format!("{folder}{name}"));
            }
        }
    }
    found.extend(["guest/ABI.md", "object/FORMAT.md", "policy/POLICY.md"].map(str::to_string));
    found.extend(packages().into_iter().map(|(folder, _)| format!("{folder}/README.md")));
    assert!(found.len() >= 23, "{found:?}");
    found
}

/// The folders of the workspace's crates, with their manifests.
fn members() -> Vec<(String, String)> {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = [")).unwrap();
    let members = members.split('"').skip(1).step_by(2);
    let manifest = |folder: &str| {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        (folder.to_string(), text)
    };
    members.map(manifest).collect()
}

/// The crates that are made into packages: their manifests say which files a package has.
fn packages() -> Vec<(String, String)> {
    let members = members().into_iter();
    members.filter(|(_, text)| text.contains("\ninclude = ")).collect()
}

/// The heading as the part of a link behind `#` has it.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The targets of the links in a text: what is between `](` and `)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[test]
fn links_lead_to_what_is_there() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        let own = Path::new(&document);
        let links = links(&text).filter(|link| !link.contains("://") && !link.contains(' '));
        for link in links {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => own.to_path_buf(),
                path => own.parent().unwrap().join(path),
            };
            let target = root().join(target);
            if !target.exists() {
                broken.push(format!("{document}: {link} is not there"));
            } else if !heading.is_empty() {
                let text = fs::read_to_string(target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                if !headings.any(|line| anchor(line) == heading) {
                    broken.push(format!("{document}: {link} has no such heading"));
                }
            }
        }
    }
    check("a link leads to a file, and to a heading in it", broken);
}

#[test]
fn paths_that_contributors_are_sent_to_are_there() {
    let text = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut count = 0;
    let mut broken = Vec::new();
    for span in text.split('`').skip(1).step_by(2).chain(security.split('`').skip(1).step_by(2)) {
        let is_path = span.contains('/') && !span.contains([' ', '\n']);
        if !is_path || span.contains("NAME") {
            continue;
        }
        count += 1;
        // `tests/it/main.rs` is of each crate.
        let is_there = root().join(span).exists() || root().join("engine").join(span).exists();
        if !is_there {
            broken.push(span.to_string());
        }
    }
    assert!(count > 20, "the paths are found");
    check("a path in CONTRIBUTING.md or SECURITY.md is there", broken);
}

#[test]
fn a_package_describes_itself() {
    let mut broken = Vec::new();
    for (folder, manifest) in packages() {
        for key in ["description", "keywords", "categories", "readme"] {
            if !manifest.contains(&format!("\n{key} = ")) {
                broken.push(format!("{folder}/Cargo.toml has no {key}"));
            }
        }
        let readme = fs::read_to_string(root().join(&folder).join("README.md")).unwrap_or_default();
        if readme.lines().count() < 5 {
            broken.push(format!("{folder}/README.md says nothing"));
        }
    }
    check("a package has a README and what a registry shows", broken);
}

/// The files and folders that a manifest puts into its package.
fn included(manifest: &str) -> Vec<&str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("include = ["));
    let entries = line.expect("a package says what it has").split('"').skip(1).step_by(2);
    entries.map(|entry| entry.trim_start_matches('/')).collect()
}

/// The place in its package of a file that the source at `path`, below the package, names from its
/// own folder: none outside of the package.
fn resolved(path: &str, named: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in named.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The files that a source at `path`, below its package, reads when it is compiled or tested; none
/// where it leads out of the package.
fn files_read(path: &str, text: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    for word in ["include_str!(\"", "include_bytes!(\""] {
        let named = text.split(word).skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(named.map(|named| resolved(path, named)));
    }
    for rest in text.split("env!(\"CARGO_MANIFEST_DIR\")").skip(1) {
        let line = rest.lines().next().unwrap_or_default();
        let named = line.split('"').nth(1).unwrap_or_default();
        found.push(resolved("Cargo.toml", named.trim_start_matches('/')));
    }
    found
}

#[test]
fn a_package_has_the_files_that_its_crate_reads() {
    let packages = packages();
    assert!(packages.len() >= 11, "{packages:?}");
    let (mut broken, mut count) = (Vec::new(), 0);
    for (path, text) in super::sources() {
        let Some((folder, _)) = path.split_once("/src/") else { continue };
        let Some((_, manifest)) = packages.iter().find(|(known, _)| known == folder) else {
            continue;
        };
        let entries = included(manifest);
        for file in files_read(&path[folder.len() + 1..], &text) {
            count += 1;
            let is_in = |entry: &&str| {
                let rest = file.as_deref().and_then(|file| file.strip_prefix(*entry));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if !entries.iter().any(is_in) {
                broken.push(format!("{path} reads {file:?}, which is not in {entries:?}"));
            }
        }
    }
    assert!(count > 8, "the files are found: {count}");
    check("a package has all files that its crate reads", broken);
}

#[test]
fn files_are_found_as_a_source_names_them() {
    let text = "let a = include_str!(\"../a.txt\"); include_bytes!(\"b/c\");\n\
                include_str!(\"../../d\")\n\
                concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/tests/e\"); \n\
                env!(\"CARGO_MANIFEST_DIR\")).join(\"../f\")";
    let found = files_read("src/x.rs", text);
    let expected = [Some("a.txt"), None, Some("src/b/c"), Some("tests/e"), None];
    assert_eq!(found, expected.map(|file| file.map(str::to_string)));
    assert_eq!(included("x\ninclude = [\"/src\", \"/README.md\"]\n"), ["src", "README.md"]);
}

/// A crate that nobody is meant to take has no `include`, and is kept from a registry.
#[test]
fn packages_are_what_people_take() {
    let mut broken = Vec::new();
    for (folder, manifest) in members() {
        let is_package = manifest.contains("\ninclude = ");
        if is_package == manifest.contains("\npublish = ") {
            broken.push(format!("{folder}/Cargo.toml has one of `include` and `publish = false`"));
        }
        for name in ["LICENSE-APACHE", "LICENSE-MIT"].into_iter().filter(|_| is_package) {
            let own = fs::read(root().join(&folder).join(name)).unwrap_or_default();
            if own != fs::read(root().join(name)).unwrap() {
                broken.push(format!("{folder}/{name} is not a link to the text at the top"));
            }
            if !included(&manifest).contains(&"LICENSE-*") {
                broken.push(format!("{folder}/Cargo.toml leaves {name} out of the package"));
            }
        }
    }
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let paths = workspace.lines().filter(|line| line.contains("path = \""));
    // Only tests have schedules: a package is made without.
    let paths = paths.filter(|line| !line.starts_with("schedules = "));
    let bare = paths.filter(|line| !line.contains("version = \""));
    broken.extend(bare.map(|line| format!("Cargo.toml: a path without a version: {line}")));
    check("a package can be published, and nothing else is one", broken);
}

#[test]
fn headings_are_found_as_links_name_them() {
    assert_eq!(anchor("## What is not taken"), "what-is-not-taken");
    assert_eq!(anchor("# `read`, by field"), "read-by-field");
}
