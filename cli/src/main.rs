//! The binary `continuant`: an object database at the command line.
//!
//! It reads the arguments, hands them to one command, and turns what comes back into an exit code.
//! It knows no rule of objects: each command asks the engine.
//!
//! Invariant: what a program may want to read is on stdout, all else on stderr, and every way to
//! fail has an exit code of its own kind.

mod arguments;
mod audit;
mod command;
mod failure;
mod keyfile;
mod moment;
mod printer;
mod progress;
mod receipt;
mod screen;
mod session;
mod table;
mod typed;
mod vitals;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use serde_json::json;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::printer::Printer;

fn main() -> ExitCode {
    start_log();
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&given) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, given.iter().any(|argument| argument == "--json")),
    };
    let json = arguments.json;
    let mut printer = Printer::stdout(json);
    let done = command::run(arguments, &mut printer);
    match done.and_then(|()| printer.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // What was printed before the failure comes before it.
            drop(printer.flush());
            report(&failure, json);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Says on stderr what went wrong. There is nobody to tell when that fails too.
fn report(failure: &Failure, json: bool) {
    let line = match json {
        true => json!({ "error": { "kind": failure.kind(), "message": failure.message() } }),
        false => format!("error: {}", failure.message()).into(),
    };
    let line = line.as_str().map_or_else(|| line.to_string(), str::to_string);
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Arguments that are not as they must be, or a question about them.
fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if asked || !json {
        drop(error.print());
        return ExitCode::from(if asked { 0 } else { failure::USAGE });
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    report(&Failure::usage(words.join(" ")), true);
    ExitCode::from(failure::USAGE)
}

/// What the engine logs goes to stderr: errors, or what `CONTINUANT_LOG` asks for.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CONTINUANT_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.without_time().with_target(false).init();
}
