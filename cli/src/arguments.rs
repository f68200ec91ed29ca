//! The arguments before and after the command's name.
//!
//! Each command's own arguments stand in its own file; this module joins them. It holds the parts
//! of `--help` that are about all commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::command::Command;
use crate::moment;
use crate::printer::Numbers;

const EXIT_CODES: &str = "\
Objects are named by name, by id, or by the first digits of an id, four at least.

In the arguments of a method, @FILE stands for the content of a file, without the line feeds at its
end, - for the content of stdin, and @@ for an @.

Exit codes:
  0  done
  1  failed
  2  wrong arguments
  3  refused by a policy or a native rule
  4  damaged, lost, or does not verify
  5  no such object, version, code or database, or nothing to restore
  6  an invariant does not hold
  7  done, and durable, but the result could not be printed: stderr has it
  128 + n  stopped by the signal n before it was done; `run` and `top`, which go on until they are
           stopped, end with 0

On SIGINT, SIGTERM or SIGHUP, `run`, `demo`, `fuzz`, `batch`, `outbox` and `upgrade --all-of` stop
where they can, close the database and say what was done; a second signal ends them at once.

Environment:
  CONTINUANT_DB          the database, when --db is not given
  CONTINUANT_CODE_CACHE  where compiled modules are kept, for this user alone; empty to keep none
                         [default: continuant/code in $XDG_CACHE_HOME, else in ~/.cache]
  CONTINUANT_LOG         what the engine logs to stderr, such as `debug`";

/// A database of durable objects: code, memory, schema, policy and lineage in one.
#[derive(Debug, Parser)]
#[command(name = "continuant", version, after_help = after_help(), disable_help_subcommand = false)]
pub(crate) struct Arguments {
    /// The database's directory [default: $CONTINUANT_DB, else ./continuant.db]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) db: Option<PathBuf>,

    /// Wait this long for another process that has the database open, such as 30s or 5m; while a
    /// command waits to write, commands that read and come later wait behind it
    #[arg(
        long,
        global = true,
        value_name = "SPAN",
        default_value = "2s",
        value_parser = moment::parse_span
    )]
    pub(crate) wait: Duration,

    /// Accept requests to an object whose time is ahead of this host's clock by more than five
    /// minutes, and its own wakes and messages
    #[arg(long, global = true)]
    pub(crate) ahead: bool,

    /// Print JSON: one document, or one per line; errors too, on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The form in JSON of whole numbers beyond 2^53, which not every program reads exactly
    #[arg(long, global = true, value_name = "AS", value_enum, default_value_t)]
    pub(crate) json_numbers: Numbers,

    #[command(subcommand)]
    pub(crate) command: Command,
}

fn after_help() -> String {
    format!("{}\n\n{EXIT_CODES}", moment::FORMS)
}
