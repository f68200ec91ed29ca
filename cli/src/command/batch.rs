//! `batch`: calls of any objects, signed together.

use std::path::{Path, PathBuf};

use clap::Args;
use continuant::{Call, Database, Receipt, SigningKey};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::{files, keyfile, moment, receipt, stop, typed};

/// Make many calls under one signature
///
/// Each key signs once for all of them, and whoever has one object's lineage can verify its calls
/// without the others. They are made in their order; one that is refused keeps none of the others
/// from being admitted.
#[derive(Debug, Args)]
pub(crate) struct Batch {
    /// A file of calls, `-` for stdin: on each line a JSON array of the object, the method and its
    /// arguments, such as ["visits", "increment", 2]
    calls: PathBuf,

    /// Sign with this key; give it again for each further signer
    #[arg(long, value_name = "KEYFILE", required = true)]
    sign: Vec<PathBuf>,

    /// When the signatures expire, at most seven days from now [default: in five minutes, or in
    /// seven days where many keys sign]
    #[arg(long, value_name = "TIME", value_parser = moment::parse_future)]
    expires: Option<u64>,
}

impl Batch {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        let keys = keyfile::read_all(&self.sign)?;
        let text = read(&self.calls)?;
        session.with(|db| {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let lines: Vec<(usize, &str)> = lines.collect();
            let read = |&(at, line): &(usize, &str)| {
                let call = call(db, line).map_err(|failure| failure.about(place(at)))?;
                Ok(match self.expires {
                    Some(expires) => call.expires(expires),
                    None => call,
                })
            };
            let calls: Vec<Call<'_>> = lines.iter().map(read).collect::<Result<_>>()?;
            // What was begun is done, and said, to its end.
            let _orderly = stop::orderly();
            let answers = sign(db, calls, &keys).wait()?;
            let mut last = Ok(());
            for ((at, _), answer) in lines.iter().zip(answers) {
                last = print(&place(*at), answer, printer)?.and(last);
            }
            last
        })
    }
}

fn sign<'a>(
    db: &'a Database,
    calls: Vec<Call<'a>>,
    keys: &'a [SigningKey],
) -> continuant::Batch<'a> {
    keys.iter().fold(db.batch(calls), |batch, key| batch.signed(key))
}

/// The place of a line, from 0, as people count it.
fn place(at: usize) -> String {
    format!("line {}", at + 1)
}

fn read(path: &Path) -> Result<String> {
    files::text("reading calls", path, files::LISTING_BYTES_MAX)
}

/// The call that a line asks for.
fn call<'a>(db: &'a Database, line: &str) -> Result<Call<'a>> {
    let expected = || Failure::usage("expected a JSON array of an object, a method, arguments");
    let parts: Vec<Json> = serde_json::from_str(line).map_err(|_| expected())?;
    let texts = typed::items(line).ok_or_else(expected)?;
    let [Json::String(object), Json::String(method), ..] = &parts[..] else {
        return Err(expected());
    };
    let id = session::find(db, object)?;
    let snapshot = db.snapshot(id)?;
    let params = &snapshot.definition().schema.require_method(method)?.params;
    // As they are typed: a number may have more digits than can be read.
    let words = texts.iter().skip(2).map(|text| text.to_string()).collect::<Vec<_>>();
    Ok(db.call(id, method, typed::arguments(method, &words, params)?))
}

/// Prints what became of a call, and gives the failure that the command ends with.
fn print(
    place: &str,
    answer: continuant::Result<Receipt>,
    printer: &mut Printer,
) -> Result<Result<()>> {
    let failure = match answer.map_err(Failure::from) {
        Ok(receipt) if printer.is_json() => {
            receipt::print(&receipt, printer)?;
            return Ok(Ok(()));
        }
        Ok(receipt) => {
            let result = receipt.result.as_ref();
            let result = result.map(|result| format!(", result {}", typed::show(result)));
            let (seq, result) = (receipt.header.seq, result.unwrap_or_default());
            printer.line(&format!("{place}: version {seq}{result}"))?;
            return Ok(Ok(()));
        }
        Err(failure) => failure,
    };
    if printer.is_json() {
        printer.document(&json!({ "error": failure.document() }))?;
    } else {
        printer.line(&format!("{place}: {}", failure.message()))?;
    }
    Ok(Err(failure.about(place)))
}
