//! `policy`: changes the policy of an object, previews a change, and names a policy by its hash.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use continuant::policy;
use continuant::{Law, Rehearsal};
use serde_json::json;

use super::call::Signing;
use super::create::{in_file, read_guard, read_policy};
use super::show::section;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::refused::Asked;
use crate::table::grouped;
use crate::target::{self, Target};
use crate::{number, receipt};

/// Change the policy of an object, preview a change, or print a policy's hash
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    Check(Check),
    Amend(Amend),
    Hash(Hash),
}

/// Print the hash of a policy, by which a rule knows it: `context.policy`
#[derive(Debug, Args)]
pub(crate) struct Hash {
    #[command(flatten)]
    files: Files,
}

/// The files that a policy is in.
#[derive(Debug, Args)]
struct Files {
    /// The policy, as Cedar text; `show --policy` prints the one that there is
    policy: PathBuf,

    /// The guard of the new policy, if it is to have one: a module that must permit each step that
    /// the policy permits; `show --guard` writes the present one
    #[arg(long, value_name = "FILE")]
    guard: Option<PathBuf>,
}

/// The content of the files.
struct Made {
    text: String,
    guard: Option<Vec<u8>>,
}

impl Files {
    fn read(&self) -> Result<Made> {
        let guard = self.guard.as_deref().map(read_guard).transpose()?;
        Ok(Made { text: read_policy(&self.policy)?, guard })
    }
}

impl Made {
    fn law(&self) -> Law<'_> {
        Law { text: &self.text, guard: self.guard.as_deref() }
    }
}

/// Show how another policy would have decided on the versions on record
///
/// A policy that would be refused, because a rule of it can never hold for instance, is refused
/// here with its faults. Nothing is changed. The past that its rules read begins with the first
/// version checked.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The object
    object: String,

    #[command(flatten)]
    files: Files,

    /// The number of last versions to check
    #[arg(long, value_name = "COUNT", value_parser = number::parse::<u64>, default_value_t = 1000)]
    last: u64,
}

/// Give an object another policy
///
/// Governed like any other change, by the policy that it has: the action is `amend`, and only a
/// rule that names it permits it.
#[derive(Debug, Args)]
pub(crate) struct Amend {
    /// The object
    object: String,

    #[command(flatten)]
    files: Files,

    /// Accept the policy even if it permits no amendment, so that it is the object's last
    #[arg(long)]
    for_good: bool,

    #[command(flatten)]
    signing: Signing,
}

impl Policy {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        match self {
            Policy::Check(check) => check.run(target, printer),
            Policy::Amend(amend) => amend.run(target, printer),
            Policy::Hash(hash) => hash.run(printer),
        }
    }
}

impl Check {
    fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let policy = self.files.read()?;
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let rehearsal = db.rehearse(id, policy.law(), self.last);
            let rehearsal = rehearsal.map_err(|error| in_file(error.into(), &self.files.policy))?;
            if rehearsal.versions == 0 {
                let message = match rehearsal.dropped {
                    _ if self.last == 0 => "--last 0 asks for no version".to_string(),
                    0 => "the object has no version behind its first to check the policy \
                          with"
                        .to_string(),
                    dropped => format!(
                        "none of the last {dropped} versions is whole on record and of the \
                         object's present code"
                    ),
                };
                let dead = match rehearsal.dead.is_empty() {
                    true => String::new(),
                    false => format!("; rules that can never hold: {}", rehearsal.dead.join(", ")),
                };
                let last = match rehearsal.is_amendable || rehearsal.is_upgradable {
                    true => "",
                    false => "; the policy would be the object's last",
                };
                let failure = Failure::new("nothing-checked", message + &dead + last);
                return Err(failure.with_details(document(&rehearsal)));
            }
            match printer.is_json() {
                true => printer.document(&document(&rehearsal)),
                false => print(&rehearsal, printer),
            }
        })
    }
}

fn print(rehearsal: &Rehearsal, printer: &mut Printer) -> Result<()> {
    let names = |names: &[String]| match names {
        [] => "none".to_string(),
        names => names.join(", "),
    };
    let is_last = !rehearsal.is_amendable && !rehearsal.is_upgradable;
    let yes = |may: bool| match may {
        true => "yes".to_string(),
        false if is_last => "no: the policy would be the object's last".to_string(),
        false => "no".to_string(),
    };
    printer.pairs(&[
        ("versions checked", grouped(rehearsal.versions)),
        ("dropped by retention", grouped(rehearsal.dropped)),
        ("would be refused", grouped(rehearsal.refused.len() as u64)),
        ("rules that permitted none", names(&rehearsal.idle)),
        ("rules that can never hold", names(&rehearsal.dead)),
        ("can be amended", yes(rehearsal.is_amendable)),
        ("can be upgraded", yes(rehearsal.is_upgradable)),
        ("can be deleted", if rehearsal.is_deletable { "yes" } else { "no" }.to_string()),
    ])?;
    let refused = rehearsal.refused.iter();
    let refused = refused.map(|(seq, verdict)| (format!("version {seq}"), verdict.to_string()));
    section(printer, "would be refused", &refused.collect::<Vec<_>>())
}

fn document(rehearsal: &Rehearsal) -> serde_json::Value {
    let refused = rehearsal.refused.iter().map(|(seq, verdict)| {
        json!({
            "seq": seq,
            "reason": verdict.reason.name(),
            "rules": verdict.rules,
            "detail": verdict.detail,
        })
    });
    json!({
        "versions": rehearsal.versions,
        "dropped": rehearsal.dropped,
        "refused": refused.collect::<Vec<_>>(),
        "idle_rules": rehearsal.idle,
        "dead_rules": rehearsal.dead,
        "amendable": rehearsal.is_amendable,
        "upgradable": rehearsal.is_upgradable,
        "deletable": rehearsal.is_deletable,
    })
}

impl Amend {
    fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let policy = self.files.read()?;
        let secrets = self.signing.secrets()?;
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            let amend = match self.for_good {
                true => db.amend_for_good(id, policy.law()),
                false => db.amend(id, policy.law()),
            };
            let asked = Asked { name: &self.object, id, action: "amend" };
            let receipt = self.signing.wait((db, asked), amend, &secrets);
            let receipt = receipt.map_err(|failure| in_file(failure, &self.files.policy))?;
            receipt::print(&receipt, printer)
        })
    }
}

impl Hash {
    fn run(self, printer: &mut Printer) -> Result<()> {
        let hash = policy::Policy::hash_of(self.files.read()?.law()).to_string();
        if printer.is_json() {
            return printer.document(&json!({ "policy": hash }));
        }
        printer.line(&hash)
    }
}
