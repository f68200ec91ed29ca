//! What stands on the command line before and after the command's name.
//!
//! Each command's own arguments stand in its own file; this one joins them. It holds the words of
//! `--help` that are about all commands.

use std::path::PathBuf;

use clap::Parser;

use crate::command::Command;
use crate::moment;

const EXIT_CODES: &str = "\
Objects are named by name, by id, or by the first digits of an id.
Times are RFC 3339 (2013-01-31T12:00:00Z), a date, or milliseconds since 1970.

Exit codes:
  0  done
  1  failed
  2  the arguments are not as they must be
  3  refused by a policy or a native rule
  4  damaged, or does not verify
  5  no such object, version or database
  6  an invariant does not hold

Environment:
  CONTINUANT_DB          the database, when --db is not given
  CONTINUANT_CODE_CACHE  where compiled modules are kept, for this user alone; empty for nowhere
                         [default: continuant/code in $XDG_CACHE_HOME, else in ~/.cache]
  CONTINUANT_LOG         what the engine logs to stderr, such as `debug`";

/// A database of durable objects: code, memory, schema, policy and lineage in one.
#[derive(Debug, Parser)]
#[command(name = "continuant", version, after_help = EXIT_CODES, disable_help_subcommand = false)]
pub(crate) struct Arguments {
    /// The database's directory [default: $CONTINUANT_DB, else ./continuant.db]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) db: Option<PathBuf>,

    /// Wait so long for another process that has the database open, such as 30s or 5m
    #[arg(
        long,
        global = true,
        value_name = "SPAN",
        default_value = "2s",
        value_parser = moment::parse_span
    )]
    pub(crate) wait: u64,

    /// Print JSON: one document, or one a line; errors too, on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}
