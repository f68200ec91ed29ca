//! `man`: the manual pages of this command, one for each command that it has.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::files;
use crate::printer::Printer;

/// Print the manual page of this command, or write a page for each command that it has
///
/// Without a directory, the first page is printed, as `man -l -` reads it. With one, such as
/// ~/.local/share/man/man1, the pages are written there: continuant.1, continuant-call.1 and so on.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory to write the pages to; created if it is missing
    directory: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, grammar: Command, printer: &mut Printer) -> Result<()> {
        // There are pages in its place.
        let mut command = grammar.disable_help_subcommand(true);
        command.build();
        let Some(directory) = self.directory else {
            let page = page(&command)?;
            return match printer.is_json() {
                true => printer.document(&json!({ "page": page })),
                false => printer.text(page.trim_end()),
            };
        };
        files::require_apart(&directory.join("page"))?;
        std::fs::create_dir_all(&directory)
            .map_err(|error| Failure::new("io", format!("{}: {error}", directory.display())))?;
        let mut written = Vec::new();
        write(&command, "continuant", &directory, &mut written)?;
        match printer.is_json() {
            true => printer.document(&json!({ "pages": written })),
            false => written.iter().try_for_each(|path| printer.line(path)),
        }
    }
}

/// The page of one command, in the language of `man`.
fn page(command: &Command) -> Result<String> {
    let mut page = Vec::new();
    let source = concat!("continuant ", env!("CARGO_PKG_VERSION"));
    let rendered = Page::new(command.clone()).source(source).render(&mut page);
    rendered.map_err(|error| Failure::new("failed", error.to_string()))?;
    String::from_utf8(page).map_err(|error| Failure::new("failed", error.to_string()))
}

/// Writes the page of a command, and those of the commands below it.
fn write(command: &Command, name: &str, to: &Path, written: &mut Vec<String>) -> Result<()> {
    let path = to.join(format!("{name}.1"));
    files::publish(&path, &page(command)?)?;
    written.push(path.display().to_string());
    for below in command.get_subcommands() {
        write(below, &format!("{name}-{}", below.get_name()), to, written)?;
    }
    Ok(())
}
