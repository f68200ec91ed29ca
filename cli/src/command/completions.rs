//! `completions`: the completions of this command for a shell.

use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;

/// Print the completions of this command for a shell
///
/// Put them where the shell looks: for bash, in
/// ~/.local/share/bash-completion/completions/continuant; for zsh, in a file _continuant of a
/// folder of $fpath; for fish, in ~/.config/fish/completions/continuant.fish.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, mut grammar: Command, printer: &mut Printer) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut grammar, "continuant", &mut script);
        let script = String::from_utf8(script);
        let script = script.map_err(|error| Failure::new("failed", error.to_string()))?;
        match printer.is_json() {
            true => printer.document(&json!({ "shell": self.shell.to_string(), "script": script })),
            false => printer.text(script.trim_end()),
        }
    }
}
