//! `key`: makes keys and shows their public halves.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use continuant::SigningKey;
use serde_json::json;

use crate::failure::Result;
use crate::keyfile;
use crate::printer::Printer;

/// Make a key, or show a key's public half
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a new Ed25519 key: a file of 64 hexadecimal digits that only its owner may read
    New(File),
    /// Show the public half of a key, as policies name it
    Show(File),
}

/// The key file.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The key file
    #[arg(value_name = "KEYFILE")]
    path: PathBuf,
}

impl Key {
    pub(crate) fn run(self, printer: &mut Printer) -> Result<()> {
        match self {
            Key::New(File { path }) => {
                let key = keyfile::create(&path)?;
                let (file, public) = (path.display(), key.public());
                let document = json!({ "file": file.to_string(), "public": public.to_string() });
                printer.done(format!("the key file {file}, of the key {public}"), document);
                print(printer, &path, &key)
            }
            Key::Show(File { path }) => print(printer, &path, &keyfile::read(&path)?),
        }
    }
}

fn print(printer: &mut Printer, path: &Path, key: &SigningKey) -> Result<()> {
    let (file, public) = (path.display().to_string(), key.public().to_string());
    match printer.is_json() {
        true => printer.document(&json!({ "file": file, "public": public })),
        false => printer.pairs(&[("key file", file), ("public", public)]),
    }
}
