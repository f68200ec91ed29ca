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

/// The folders of the crates that are made into packages, with their manifests: they say which
/// files a package has.
fn packages() -> Vec<(String, String)> {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = [")).unwrap();
    let members = members.split('"').skip(1).step_by(2);
    let manifest = |folder: &str| {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        (folder.to_string(), text)
    };
    members.map(manifest).filter(|(_, text)| text.contains("\ninclude = ")).collect()
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

/// A package has all files that its crate compiles.
#[test]
fn a_package_reads_no_file_from_outside() {
    let mut broken = Vec::new();
    let folders: Vec<String> = packages().into_iter().map(|(folder, _)| folder).collect();
    assert!(folders.len() >= 11, "{folders:?}");
    for (path, text) in super::sources() {
        let Some((folder, _)) = path.split_once("/src/") else { continue };
        if !folders.iter().any(|known| known == folder) {
            continue;
        }
        // From a file in `folder/src/a/b.rs` the third `../` leads out of the folder.
        let depth = path[folder.len() + 1..].matches('/').count();
        for (at, _) in text.match_indices("include_") {
            let Some((_, rest)) = text[at..].split_once("!(\"") else { continue };
            let included = rest.split('"').next().unwrap_or_default();
            if included.matches("../").count() > depth {
                broken.push(format!("{path} includes {included}"));
            }
        }
        for (at, _) in text.match_indices("env!(\"CARGO_MANIFEST_DIR\")") {
            let line = text[at..].lines().next().unwrap_or_default();
            if line.contains("/..") || line.contains("\"..") {
                broken.push(format!("{path} looks outside of its folder: {line}"));
            }
        }
    }
    check("a package has all files that its crate reads", broken);
}

#[test]
fn headings_are_found_as_links_name_them() {
    assert_eq!(anchor("## What is not taken"), "what-is-not-taken");
    assert_eq!(anchor("# `read`, by field"), "read-by-field");
}
