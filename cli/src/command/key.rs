//! `key`: makes keys, shows their public halves, and has them in the forms of other programs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use continuant::SigningKey;
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::keyfile;
use crate::printer::Printer;

/// Make a key, show a key's public half, or have a key in the form of another program
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a new Ed25519 key: a file of a few lines that only its owner may read
    New(File),
    /// Show the public half of a key, as policies name it
    Show(File),
    Import(Import),
    Export(Export),
}

/// The key file.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The key file
    #[arg(value_name = "KEYFILE")]
    path: PathBuf,
}

/// Make a key file of an Ed25519 key that another program made
///
/// Read are PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it, with the public key
/// in it or without; OpenSSH's form, as `ssh-keygen -t ed25519` writes it, encrypted or not; the 64
/// hexadecimal digits of a secret; and key files. A public key in the file must be that of the
/// secret. A file that has none, such as OpenSSL's, does not show a change: compare the public half
/// that this prints.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file that has the secret key
    #[arg(value_name = "FILE")]
    path: PathBuf,

    /// The key file to make
    #[arg(long, value_name = "KEYFILE")]
    to: PathBuf,

    /// A file whose first line is the key's passphrase [default: asked for on the terminal]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Write a key in the form of another program
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The key file
    #[arg(value_name = "KEYFILE")]
    path: PathBuf,

    /// Write the secret key, unencrypted, as PKCS#8 in PEM, which `openssl pkey` reads; --to says
    /// where to
    #[arg(long, required_unless_present = "ssh_public", conflicts_with = "ssh_public")]
    pem: bool,

    /// Write the public half as a line of OpenSSH's, as in `authorized_keys`
    #[arg(long)]
    ssh_public: bool,

    /// The comment at the end of that line
    #[arg(long, value_name = "TEXT", conflicts_with = "pem", default_value = "")]
    comment: String,

    /// The new file, which only its owner may read; `-` for stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

impl Key {
    pub(crate) fn run(self, printer: &mut Printer) -> Result<()> {
        match self {
            Key::New(File { path }) => {
                let key = keyfile::create(&path)?;
                tell(printer, &path, &key);
                print(printer, &path, &key, None)
            }
            Key::Show(File { path }) => print(printer, &path, &keyfile::read(&path)?, None),
            Key::Import(Import { path, to, passphrase_file }) => {
                let (key, form) = keyfile::import(&path, passphrase_file.as_deref())?;
                keyfile::write_key(&to, &key)?;
                tell(printer, &to, &key);
                print(printer, &to, &key, Some(("from", form)))
            }
            Key::Export(export) => export.run(printer),
        }
    }
}

impl Export {
    fn run(self, printer: &mut Printer) -> Result<()> {
        let stdout = Path::new("-");
        let to = match self.to {
            None if self.pem => {
                let message = "--pem writes the secret key: --to FILE says where to, and --to - \
                               prints it";
                return Err(Failure::usage(message));
            }
            to => to.filter(|to| to != stdout),
        };
        let key = keyfile::read(&self.path)?;
        let (form, field, text) = match self.pem {
            true => ("pkcs8", "pem", keyfile::pem(&key)),
            false => {
                let line = keyfile::openssh_public(&key, &self.comment)?;
                ("openssh-public", "ssh_public", format!("{line}\n").into())
            }
        };
        if let Some(to) = to {
            keyfile::write(&to, &text)?;
            tell(printer, &to, &key);
            return print(printer, &to, &key, Some(("form", form)));
        }
        match printer.is_json() {
            true => printer.document(&json!({ "public": public(&key), field: &*text })),
            false => printer.text(text.trim_end()),
        }
    }
}

fn public(key: &SigningKey) -> String {
    key.public().to_string()
}

/// Keeps that a file of the key was made.
fn tell(printer: &mut Printer, path: &Path, key: &SigningKey) {
    let (file, public) = (path.display(), public(key));
    let document = json!({ "file": file.to_string(), "public": public });
    printer.done(format!("the key file {file}, of the key {public}"), document);
}

/// Prints a key file's name and its key, and a form.
fn print(
    printer: &mut Printer,
    path: &Path,
    key: &SigningKey,
    form: Option<(&str, &str)>,
) -> Result<()> {
    let (file, public) = (path.display().to_string(), public(key));
    if printer.is_json() {
        let mut document = json!({ "file": file, "public": public });
        if let Some((label, form)) = form {
            document[label] = Json::from(form);
        }
        return printer.document(&document);
    }
    let form = form.map(|(label, form)| (label, form.to_string()));
    let pairs = [("key file", file), ("public", public)];
    printer.pairs(&pairs.into_iter().chain(form).collect::<Vec<_>>())
}
