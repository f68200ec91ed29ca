//! The shell blocks of README and of the guide: each is run as it stands, in an empty folder with
//! the files of the tree that it names.
//!
//! A line with a comment `# exit code N` has to end so, every other one with 0. Blocks of `cargo`
//! are for a checkout, and are not run.

use std::path::Path;
use std::process::Command;

use crate::terminal::{Terminal, root};

/// Commands that end by themselves only with another option, and these with it.
const SUBSTITUTES: [(&str, &str); 3] = [
    ("continuant run --top ", "continuant run --top --for 1ms "),
    ("continuant run --for 1h ", "continuant run --for 1ms "),
    ("continuant top fleet.prom ", "continuant top fleet.prom --for 0ms "),
];

/// The blocks of a language in a document.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let begin = format!("\n```{language}\n");
    let parts = text.split(&begin[..]).skip(1);
    parts.map(|part| part.split("```").next().unwrap()).collect()
}

/// A block as a script that stops where a line does not end as it should.
fn script(block: &str) -> String {
    let mut script = "set -euo pipefail\n".to_string();
    let mut statement = String::new();
    for line in block.lines() {
        statement.push_str(line);
        statement.push('\n');
        if line.ends_with('\\') {
            continue;
        }
        let said = line.split_once("# exit code ").map(|(_, rest)| rest);
        match said.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap()) {
            Some(code) => {
                script += &format!("code=0\n{{ {statement}}} || code=$?\n[[ $code = {code} ]]\n");
            }
            None => script += &statement,
        }
        statement.clear();
    }
    script + &statement
}

fn copy(terminal: &Terminal, folder: &str, ending: &str) {
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if name.ends_with(ending) {
            terminal.write(&path, std::fs::read(root().join(&path)).unwrap());
        }
        let policy = format!("{path}/policy.cedar");
        if root().join(&policy).exists() {
            terminal.write(&policy, std::fs::read(root().join(&policy)).unwrap());
        }
    }
}

/// Runs the blocks of a document in order, and returns the terminal that they ran in.
fn run(document: &str, count: usize) -> Terminal {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let terminal = Terminal::new();
    copy(&terminal, "guest/objects", ".wasm");
    copy(&terminal, "guest/examples", ".cedar");
    let blocks = blocks(&text, "sh").into_iter().filter(|block| !block.starts_with("cargo "));
    let blocks: Vec<&str> = blocks.collect();
    assert_eq!(blocks.len(), count, "blocks of {document}");
    let binary = Path::new(env!("CARGO_BIN_EXE_continuant")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    for block in blocks {
        let mut block = block.to_string();
        for (line, substitute) in SUBSTITUTES {
            block = block.replace(line, substitute);
        }
        let mut bash = Command::new("bash");
        bash.args(["-c", &script(&block)]).current_dir(terminal.path("."));
        bash.env("PATH", &path).env("HOME", terminal.path(".")).env_remove("CONTINUANT_DB");
        bash.env_remove("CONTINUANT_LOG").env_remove("XDG_CACHE_HOME");
        let output = bash.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{document}: {}\n{block}\n{said}", output.status);
    }
    terminal
}

#[test]
fn the_readme_does_what_it_says() {
    let terminal = run("README.md", 1);
    assert_eq!(terminal.run("get visits count").done(), "2\n");
}

#[test]
fn the_page_of_policies_does_what_it_says() {
    let terminal = run("docs/policies.md", 1);
    let key = terminal.run("key show operator.key --json").done();
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    let history = terminal.run("history visits --json").done();
    assert!(history.contains(key["public"].as_str().unwrap()), "{history}");
}

#[test]
fn the_page_of_upgrades_does_what_it_says() {
    let terminal = run("docs/upgrades.md", 1);
    assert_eq!(terminal.run("get visits balance").done(), "42\n");
    assert_eq!(terminal.run("get visits count --at 1").done(), "42\n");
}

#[test]
fn the_page_of_messages_does_what_it_says() {
    let terminal = run("docs/messages.md", 2);
    assert_eq!(terminal.run("get ada balance").done(), "70\n");
    assert_eq!(terminal.run("get ben balance").done(), "30\n");
    let peeked = terminal.run("outbox mailer --peek");
    assert_eq!((peeked.code, &*peeked.stdout), (Some(0), ""), "all was given");
}

#[test]
fn the_page_of_operations_does_what_it_says() {
    let terminal = run("docs/operations.md", 8);
    assert_eq!(terminal.run("get visits count").done(), "9\n");
    assert_eq!(terminal.run("get visits count --db restored").done(), "5\n");
    assert!(terminal.path(".local/share/man/man1/continuant-call.1").exists());
}

#[test]
fn every_document_is_run() {
    let here = include_str!("documents.rs");
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = std::fs::read_to_string(root().join("docs").join(&name)).unwrap();
        let is_run = here.contains(&format!("run(\"docs/{name}\""));
        assert_eq!(is_run, !blocks(&text, "sh").is_empty(), "{name}");
    }
    for (line, _) in SUBSTITUTES {
        let text = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
        assert!(text.contains(line), "{line} is in the guide");
    }
}

#[test]
fn a_line_ends_as_its_comment_says() {
    let block = "false \\\n  --option  # exit code 1: no\ntrue\n";
    let expected = "set -euo pipefail\ncode=0\n{ false \\\n  --option  # exit code 1: no\n} || \
                    code=$?\n[[ $code = 1 ]]\ntrue\n";
    assert_eq!(script(block), expected);
}
