//! The binary `continuant`: an object database at the command line.
//!
//! It reads the arguments, runs one command, and turns its result into an exit code. It knows no
//! rule of objects: each command asks the engine.
//!
//! Invariant: output that a program may want to read is on stdout, all else on stderr, and every
//! kind of failure has an exit code of its own.

mod arguments;
mod aside;
mod audit;
mod command;
mod escape;
mod failure;
mod files;
mod keyfile;
mod moment;
mod number;
mod printer;
mod progress;
mod receipt;
mod refused;
mod screen;
mod stop;
mod table;
mod target;
mod typed;
mod vitals;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::target::Target;

fn main() -> ExitCode {
    stop::listen();
    let is_log_asked = start_log();
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&given) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, &given),
    };
    aside::speak(arguments.json);
    if let Err(problem) = is_log_asked {
        aside::warn("log", &problem);
    }
    let mut printer = Printer::stdout(arguments.json, arguments.json_numbers);
    let target = Target::new(arguments.db, arguments.wait, arguments.ahead);
    // Output printed before a failure comes before its message.
    let ended = command::run(arguments.command, &target, Arguments::command(), &mut printer);
    match printer.end(ended) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            aside::fail(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Arguments that are not as they must be, or a question about them.
fn usage(error: &clap::Error, given: &[OsString]) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let json = given.iter().any(|argument| argument == "--json");
    // Prints one line even if an argument contains line breaks or colours.
    let is_plain = |argument: &OsStr| {
        argument.to_str().is_some_and(|text| !text.chars().any(escape::is_hidden))
    };
    if asked || (!json && given.iter().all(|argument| is_plain(argument))) {
        drop(error.print());
        return ExitCode::from(if asked { 0 } else { failure::USAGE });
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error: ").split_whitespace().collect();
    aside::speak(json);
    aside::fail(&Failure::usage(words.join(" ")));
    ExitCode::from(failure::USAGE)
}

/// Sends the engine's log to stderr: errors, or the filter in `CONTINUANT_LOG`.
///
/// # Errors
///
/// The fault in that filter; errors are logged then.
fn start_log() -> Result<(), String> {
    const VARIABLE: &str = "CONTINUANT_LOG";
    let asked = match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(_) => EnvFilter::try_from_env(VARIABLE).map(Some),
    };
    let problem = asked.as_ref().err().map(|error| {
        format!("{VARIABLE} is not a filter of the log, so only errors are logged: {error}")
    });
    let filter = asked.ok().flatten().unwrap_or_else(|| EnvFilter::new("error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(aside::Log);
    log.with_ansi(false).without_time().with_target(false).init();
    problem.map_or(Ok(()), Err)
}
