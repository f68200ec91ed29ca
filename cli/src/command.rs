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
mod delete;
mod demo;
mod diff;
mod dry_run;
mod dump;
mod evidence;
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
mod name;
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
use crate::target::Target;

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
    Delete(delete::Delete),
    Advance(advance::Advance),
    Run(run::Run),
    Show(show::Show),
    Get(get::Get),
    Read(read::Read),
    List(list::List),
    #[command(subcommand)]
    Name(name::Name),
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
    Evidence(evidence::Evidence),
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

/// Runs a command on a target. `grammar` is all that can be typed, for the commands
/// that describe it.
pub(crate) fn run(
    command: Command,
    target: &Target,
    grammar: clap::Command,
    printer: &mut Printer,
) -> Result<()> {
    match command {
        Command::Init(init) => init.run(target, printer),
        Command::Key(key) => key.run(printer),
        Command::Create(create) => create.run(target, printer),
        Command::Fork(fork) => fork.run(target, printer),
        Command::Call(call) => call.run(target, printer),
        Command::Batch(batch) => batch.run(target, printer),
        Command::Write(write) => write.run(target, printer),
        Command::DryRun(dry_run) => dry_run.run(target, printer),
        Command::Session(subcommand) => subcommand.run(target, printer),
        Command::Policy(policy) => policy.run(target, printer),
        Command::Upgrade(upgrade) => upgrade.run(target, printer),
        Command::Delete(delete) => delete.run(target, printer),
        Command::Advance(advance) => advance.run(target, printer),
        Command::Run(run) => run.run(target, printer),
        Command::Show(show) => show.run(target, printer),
        Command::Get(get) => get.run(target, printer),
        Command::Read(read) => read.run(target, printer),
        Command::List(list) => list.run(target, printer),
        Command::Name(name) => name.run(target, printer),
        Command::Top(top) => top.run(printer),
        Command::History(history) => history.run(target, printer),
        Command::DeadLetters(letters) => letters.run(target, printer),
        Command::Outbox(outbox) => outbox.run(target, printer),
        Command::Explain(explain) => explain.run(target, printer),
        Command::At(at) => at.run(target, printer),
        Command::Diff(diff) => diff.run(target, printer),
        Command::Blame(blame) => blame.run(target, printer),
        Command::Dump(dump) => dump.run(target, printer),
        Command::Verify(verify) => verify.run(target, printer),
        Command::Export(export) => export.run(target, printer),
        Command::Import(import) => import.run(target, printer),
        Command::Evidence(evidence) => evidence.run(target, printer),
        Command::Check(check) => check.run(target, printer),
        Command::Fuzz(fuzz) => fuzz.run(printer),
        Command::Retain(retain) => retain.run(target, printer),
        Command::Compact(compact) => compact.run(target, printer),
        Command::Backup(backup) => backup.run(target, printer),
        Command::Restore(restore) => restore.run(target, printer),
        Command::Demo(demo) => demo.run(target, printer),
        Command::Completions(completions) => completions.run(grammar, printer),
        Command::Man(man) => man.run(grammar, printer),
    }
}
