//! `upgrade`: gives other code to an object, or to all objects of a code.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use continuant::object::hash::CodeHash;
use continuant::{Database, Error, ErrorKind, Fleet, Law, ObjectId};
use serde_json::{Value as Json, json};

use super::call::Signing;
use super::create::{in_file, read_guard, read_module, read_policy};
use super::explain::{self, About};
use super::show::section;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::refused::Asked;
use crate::table::grouped;
use crate::target::{self, Target, short};
use crate::{aside, progress, receipt, stop};

/// Kinds of outcome that are shown to people.
const OUTCOMES_MAX: usize = 20;

/// Give an object other code, or every object of a code
///
/// The module's function `migrate` makes the object's memory from its present state; id, name and
/// lineage stay. Two policies govern it: the present one, as the action `upgrade`, which only a
/// rule that names it permits, and the new one, as the action `migrate`.
///
/// Of many objects, each is upgraded by itself: one that is refused stays unchanged and does not
/// stop the others. Objects that have the new code already are skipped, so a command that was
/// stopped can be given again. The exit code is 3 when any object stays unchanged, and 5 when no
/// object has the code.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Upgrade {
    /// The object
    #[arg(required_unless_present = "all_of")]
    object: Option<String>,

    /// The new module
    module: PathBuf,

    /// Every object that runs the code with this hash, as `list --json` and `show` have it, or its
    /// first digits
    #[arg(long, value_name = "HASH", conflicts_with_all = ["object", "session", "nonce"])]
    #[arg(conflicts_with_all = ["expires", "parent", "dry_run"])]
    all_of: Option<String>,

    /// The object's new policy: Cedar text [default: the one that the object has]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The policy's guard, if it is to have one: a module that must permit each step that the
    /// policy permits
    #[arg(long, value_name = "FILE", requires = "policy")]
    guard: Option<PathBuf>,

    /// Accept a policy that permits neither an amendment nor an upgrade, so that it is the object's
    /// last
    #[arg(long)]
    for_good: bool,

    /// Show the outcome, and why, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    signing: Signing,
}

impl Upgrade {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let to = self.made()?;
        let secrets = self.signing.secrets()?;
        let upgrade = |db: &Database| {
            if let Some(from) = &self.all_of {
                let from = target::find_code(db, from)?;
                if from == to.code() {
                    let module = self.module.display();
                    let message = format!("{module} is the code that the objects have already");
                    return Err(Failure::usage(message));
                }
                let fleet = db.upgrade_all(from, &to);
                let fleet = secrets.keys().iter().fold(fleet, |fleet, key| fleet.signed(key));
                return roll_out(db, from, fleet, printer);
            }
            let object = self.object.as_deref().expect("without a code there is an object");
            let id = target::find(db, object)?;
            if db.info(id)?.code == to.code() && self.policy.is_none() {
                let message = format!("{object} has this code already: nothing changes");
                aside::note(printer, "same-code", &message);
                return Ok(());
            }
            let upgrade = db.upgrade(id, &to);
            if !self.dry_run {
                let asked = Asked { name: object, id, action: "upgrade" };
                let receipt = self.signing.wait((db, asked), upgrade, &secrets);
                let receipt = receipt.map_err(|failure| match &self.policy {
                    Some(policy) => in_file(failure, policy),
                    None => failure,
                })?;
                return receipt::print(&receipt, printer);
            }
            let explanation = self.signing.sign(db, upgrade, &secrets)?.dry_run()?;
            explain::print(&explanation, About::DryRun, db.snapshot(id)?.definition(), printer)?;
            explanation.verdict.map(drop).map_err(|verdict| {
                Failure::refused(format!("{object} would refuse the upgrade: {verdict}"))
            })
        };
        match self.dry_run && self.all_of.is_none() {
            true => target.reading(upgrade),
            false => target.with(upgrade),
        }
    }

    /// Reads the files.
    fn made(&self) -> Result<continuant::Upgrade> {
        let to = continuant::Upgrade::wasm(read_module(&self.module)?);
        let mut to = to.map_err(|error| Failure::from(error).not_ours())?;
        if let Some(policy) = &self.policy {
            let guard = self.guard.as_deref().map(read_guard).transpose()?;
            to = to.policy(Law { text: &read_policy(policy)?, guard: guard.as_deref() });
        }
        Ok(if self.for_good { to.for_good() } else { to })
    }
}

/// The outcomes of many objects.
#[derive(Default)]
struct Summary {
    upgraded: u64,
    refused: Vec<(ObjectId, Error)>,
    failed: Vec<(ObjectId, Error)>,
}

fn roll_out(db: &Database, from: CodeHash, fleet: Fleet<'_>, printer: &mut Printer) -> Result<()> {
    let mut count = 0;
    for info in db.objects().code(from) {
        info?;
        count += 1;
    }
    if count == 0 {
        let ways = "`continuant list --json` shows each object's code; objects that were upgraded \
                    have the new one";
        return Err(Failure::missing("no-code", format!("no object has the code {from}: {ways}")));
    }
    let bar = progress::bar("upgrading", count);
    let mut summary = Summary::default();
    let _orderly = stop::orderly();
    for upgraded in fleet {
        let (id, outcome) = upgraded?;
        match outcome {
            Ok(_) => summary.upgraded += 1,
            Err(error) if error.refusal().is_some() => summary.refused.push((id, error)),
            Err(error) => summary.failed.push((id, error)),
        }
        bar.inc(1);
        if stop::asked().is_some() {
            break;
        }
    }
    bar.finish_and_clear();
    summary.keep(printer);
    summary.print(printer)?;
    match stop::asked() {
        Some(signal) => {
            let left = "the objects above are done; run the command again for the others";
            Err(Failure::stopped(signal, left))
        }
        None => summary.end(),
    }
}

impl Summary {
    /// Keeps the durable work, in case it cannot be printed.
    fn keep(&self, printer: &mut Printer) {
        let kept = self.refused.len() + self.failed.len();
        let document = json!({ "upgraded": self.upgraded, "kept": kept });
        let upgraded = grouped(self.upgraded);
        let message = format!("{upgraded} objects are upgraded, and {kept} are unchanged");
        printer.done(message, document);
    }

    fn print(&self, printer: &mut Printer) -> Result<()> {
        let Summary { upgraded, refused, failed } = self;
        if printer.is_json() {
            return printer.document(&json!({
                "upgraded": upgraded,
                "refused": refused.iter().map(refusal).collect::<Vec<_>>(),
                "failed": failed.iter().map(failure).collect::<Vec<_>>(),
            }));
        }
        printer.pairs(&[
            ("upgraded", grouped(*upgraded)),
            ("refused", grouped(refused.len() as u64)),
            ("failed", grouped(failed.len() as u64)),
        ])?;
        section(printer, "refused", &alike(refused))?;
        section(printer, "failed", &alike(failed))
    }

    fn end(&self) -> Result<()> {
        match self.refused.len() + self.failed.len() {
            0 => Ok(()),
            1 => Err(Failure::refused("1 object was not upgraded")),
            kept => Err(Failure::refused(format!("{kept} objects were not upgraded"))),
        }
    }
}

/// Groups the objects that stay as they are by reason, the largest group first.
fn alike(kept: &[(ObjectId, Error)]) -> Vec<(String, String)> {
    let mut outcomes: BTreeMap<String, (u64, ObjectId)> = BTreeMap::new();
    for (id, error) in kept {
        let why = match error.refusal() {
            Some(verdict) => verdict.to_string(),
            None => error.to_string().replace(&format!("object {id}: "), ""),
        };
        outcomes.entry(why).or_insert((0, *id)).0 += 1;
    }
    let mut outcomes: Vec<_> = outcomes.into_iter().collect();
    outcomes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let more = outcomes.len().saturating_sub(OUTCOMES_MAX);
    let shown = outcomes.into_iter().take(OUTCOMES_MAX).map(|(why, (count, id))| {
        let others =
            if count == 1 { String::new() } else { format!(" and {}", grouped(count - 1)) };
        (format!("{}{others}", short(&id)), why)
    });
    let mut shown: Vec<_> = shown.collect();
    if more > 0 {
        shown.push(("others".to_string(), format!("{more} more reasons, which --json prints")));
    }
    shown
}

fn refusal((id, error): &(ObjectId, Error)) -> Json {
    let verdict = error.refusal().expect("it was refused");
    let recorded = matches!(error.kind(), ErrorKind::Refused { recorded: true, .. });
    json!({
        "object": id.to_string(),
        "reason": verdict.reason.name(),
        "rules": verdict.rules,
        "detail": verdict.detail,
        "recorded": recorded,
    })
}

fn failure((id, error): &(ObjectId, Error)) -> Json {
    let failure = Failure::from(error.clone());
    json!({ "object": id.to_string(), "kind": failure.kind(), "message": failure.message() })
}
