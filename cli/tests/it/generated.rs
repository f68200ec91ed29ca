//! The completions and the manual pages that the binary prints of itself.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value as Json;

use crate::hostile::listed;
use crate::terminal::Terminal;

/// Every command, as `history`, `key`, `key new`.
fn commands(terminal: &Terminal) -> BTreeSet<String> {
    let mut commands = listed(terminal, "help");
    for group in ["key", "session", "policy", "dead-letters", "name"] {
        let below = listed(terminal, &format!("help {group}"));
        commands.extend(below.iter().map(|name| format!("{group} {name}")));
    }
    assert!(commands.len() > 40, "{commands:?}");
    commands
}

#[test]
fn completions_know_every_command() {
    let terminal = Terminal::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = terminal.run(&format!("completions {shell}")).done();
        for command in commands(&terminal) {
            let last = command.split(' ').next_back().unwrap();
            assert!(script.contains(last), "{shell}: {command}");
        }
        let told = terminal.run(&format!("--json completions {shell}")).done();
        let told: Json = serde_json::from_str(&told).unwrap();
        assert_eq!(told["shell"], shell);
        assert_eq!(told["script"].as_str().unwrap().trim_end(), script.trim_end());
    }
    assert_eq!(terminal.run("completions csh").code, Some(2));
}

#[test]
fn bash_completes_a_command() {
    let terminal = Terminal::new();
    terminal.write("completions", terminal.run("completions bash").done());
    let complete = |words: &str, index: usize| {
        let script = format!(
            "source ./completions; COMP_WORDS=({words}); COMP_CWORD={index}; \
             _continuant continuant \"${{COMP_WORDS[{index}]}}\" \"${{COMP_WORDS[{}]}}\"; \
             echo \"${{COMPREPLY[*]}}\"",
            index - 1
        );
        let mut bash = Command::new("bash");
        bash.args(["-euc", &script]).current_dir(terminal.path("."));
        let output = bash.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_string()
    };
    assert_eq!(complete("continuant hist", 1), "history");
    assert_eq!(complete("continuant key n", 2), "new");
    assert_eq!(complete("continuant verify --rep", 2), "--replay");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let terminal = Terminal::new();
    let printed = terminal.run("man man1").done();
    let folder = terminal.path("man1");
    let files = std::fs::read_dir(&folder).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let expected = commands(&terminal).into_iter();
    let expected = expected.map(|command| format!("continuant-{}.1", command.replace(' ', "-")));
    let expected: BTreeSet<String> = expected.chain(["continuant.1".to_string()]).collect();
    assert_eq!(files, expected);
    assert_eq!(printed.lines().count(), files.len(), "each is named: {printed}");

    for command in commands(&terminal) {
        let name = format!("continuant-{}", command.replace(' ', "-"));
        let page = std::fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1 ")), "{page}");
        let called = command.replace('-', "\\-");
        assert!(page.contains(&format!("\\fBcontinuant {called}\\fR")), "{page}");
        let help = terminal.run(&format!("help {command}")).done();
        let options = help.split_whitespace().filter(|word| word.starts_with("--"));
        for option in options.map(|word| word.trim_end_matches(|c: char| !c.is_alphabetic())) {
            let escaped = option.replace('-', "\\-");
            assert!(page.contains(&escaped), "{name}: {option}");
        }
        // The pages that it refers to are there.
        for word in page.split_whitespace().filter_map(|word| word.strip_suffix("(1)")) {
            assert!(files.contains(&format!("{}.1", word.replace('\\', ""))), "{name}: {word}");
        }
    }
}

#[test]
fn the_first_page_is_printed_and_again_written() {
    let terminal = Terminal::new();
    let page = terminal.run("man").done();
    assert!(page.contains(".TH continuant 1 "), "{page}");
    assert!(page.contains(".SH SYNOPSIS"), "{page}");
    assert!(page.contains("Exit codes:"), "what is behind the commands: {page}");
    let told: Json = serde_json::from_str(&terminal.run("--json man").done()).unwrap();
    assert_eq!(told["page"].as_str().unwrap().trim_end(), page.trim_end());
    let written = terminal.run("man deep/man1").done();
    assert_eq!(terminal.run("man deep/man1").done(), written, "they are replaced");
    let first = std::fs::read_to_string(terminal.path("deep/man1/continuant.1")).unwrap();
    assert_eq!(first.trim_end(), page.trim_end());
    terminal.write("plain", "");
    assert_eq!(terminal.run("man plain").code, Some(1));
}
