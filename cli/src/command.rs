//! The commands: one file each.
//!
//! This module lists them, and knows nothing of their work.

mod advance;
mod at;
mod backup;
mod batch;
mod blame;
mod call;
mod check;
mod compact;
mod completions;
mod create;
mod dead_letters;
mod demo;
mod diff;
mod dry_run;
mod dump;
mod explain;
mod export;
mod fork;
mod fuzz;
mod get;
mod history;
mod import;
mod init;
mod key;
mod list;
mod man;
mod outbox;
mod policy;
mod read;
mod restore;
mod retain;
mod run;
mod session;
mod show;
mod top;
mod upgrade;
mod verify;
mod write;

use clap::Subcommand;

use crate::failure::Result;
use crate::printer::Printer;
use crate::session::Session;

/// The command to run.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(init::Init),
    #[command(subcommand)]
    Key(key::Key),
    Create(create::Create),
    Fork(fork::Fork),
    Call(call::Call),
    Batch(batch::Batch),
    Write(write::Write),
    #[command(alias = "admit")]
    DryRun(dry_run::DryRun),
    #[command(subcommand)]
    Session(session::Session),
    #[command(subcommand)]
    Policy(policy::Policy),
    Upgrade(upgrade::Upgrade),
    Advance(advance::Advance),
    Run(run::Run),
    Show(show::Show),
    Get(get::Get),
    Read(read::Read),
    List(list::List),
    Top(top::Top),
    History(history::History),
    DeadLetters(dead_letters::DeadLetters),
    Outbox(outbox::Outbox),
    Explain(explain::Explain),
    At(at::At),
    Diff(diff::Diff),
    Blame(blame::Blame),
    Dump(dump::Dump),
    Verify(verify::Verify),
    Export(export::Export),
    Import(import::Import),
    Check(check::Check),
    Fuzz(fuzz::Fuzz),
    Retain(retain::Retain),
    Compact(compact::Compact),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Demo(demo::Demo),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs a command on a session's database. `grammar` is all that can be typed, for the commands
/// that describe it.
pub(crate) fn run(
    command: Command,
    session: &Session,
    grammar: clap::Command,
    printer: &mut Printer,
) -> Result<()> {
    match command {
        Command::Init(init) => init.run(session, printer),
        Command::Key(key) => key.run(printer),
        Command::Create(create) => create.run(session, printer),
        Command::Fork(fork) => fork.run(session, printer),
        Command::Call(call) => call.run(session, printer),
        Command::Batch(batch) => batch.run(session, printer),
        Command::Write(write) => write.run(session, printer),
        Command::DryRun(dry_run) => dry_run.run(session, printer),
        Command::Session(subcommand) => subcommand.run(session, printer),
        Command::Policy(policy) => policy.run(session, printer),
        Command::Upgrade(upgrade) => upgrade.run(session, printer),
        Command::Advance(advance) => advance.run(session, printer),
        Command::Run(run) => run.run(session, printer),
        Command::Show(show) => show.run(session, printer),
        Command::Get(get) => get.run(session, printer),
        Command::Read(read) => read.run(session, printer),
        Command::List(list) => list.run(session, printer),
        Command::Top(top) => top.run(printer),
        Command::History(history) => history.run(session, printer),
        Command::DeadLetters(letters) => letters.run(session, printer),
        Command::Outbox(outbox) => outbox.run(session, printer),
        Command::Explain(explain) => explain.run(session, printer),
        Command::At(at) => at.run(session, printer),
        Command::Diff(diff) => diff.run(session, printer),
        Command::Blame(blame) => blame.run(session, printer),
        Command::Dump(dump) => dump.run(session, printer),
        Command::Verify(verify) => verify.run(session, printer),
        Command::Export(export) => export.run(session, printer),
        Command::Import(import) => import.run(session, printer),
        Command::Check(check) => check.run(session, printer),
        Command::Fuzz(fuzz) => fuzz.run(printer),
        Command::Retain(retain) => retain.run(session, printer),
        Command::Compact(compact) => compact.run(session, printer),
        Command::Backup(backup) => backup.run(session, printer),
        Command::Restore(restore) => restore.run(session, printer),
        Command::Demo(demo) => demo.run(session, printer),
        Command::Completions(completions) => completions.run(grammar, printer),
        Command::Man(man) => man.run(grammar, printer),
    }
}
