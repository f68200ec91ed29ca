//! `dump`: a version's memory, byte for byte: its plain BLAKE3 hash is the memory root.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::at::Moment;
use crate::failure::{Failure, Result};
use crate::files;
use crate::printer::Printer;
use crate::target::{self, Target};

/// Dump an object's memory, whose `b3sum` is its memory root
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// The object
    object: String,

    /// Dump this version, by its number or by a time, instead of the newest
    #[arg(long, value_name = "SEQ|TIME")]
    at: Option<Moment>,

    /// The file to write, instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long, requires = "output")]
    force: bool,
}

impl Dump {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        if self.output.is_none() && (printer.is_json() || std::io::stdout().is_terminal()) {
            let message = "memory is not text and is not printed: name a file with --output";
            return Err(Failure::usage(message));
        }
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let snapshot = match self.at {
                Some(moment) => moment.snapshot(db, id)?,
                None => db.snapshot(id)?,
            };
            let memory = snapshot.memory_bytes();
            let Some(path) = self.output else { return printer.bytes(&memory) };
            files::write(&path, self.force, |out| {
                let written = out.write_all(&memory);
                written.map_err(|error| Failure::file("writing", &path, &error))
            })?;
            let (seq, root) = (snapshot.header().seq, snapshot.header().memory_root);
            let file = path.display().to_string();
            printer.done(format!("the file {file}"), json!({ "file": file }));
            match printer.is_json() {
                true => printer.document(&json!({
                    "object": id.to_string(),
                    "seq": seq,
                    "file": file,
                    "bytes": memory.len(),
                    "memory_root": root.to_string(),
                })),
                false => printer.pairs(&[
                    ("file", file),
                    ("bytes", memory.len().to_string()),
                    ("memory root", root.to_string()),
                ]),
            }
        })
    }
}
