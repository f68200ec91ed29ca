//! `retain`: the amount of history that is kept, of all objects or of one.

use std::time::Duration;

use clap::Args;
use continuant::storage::Retention;
use continuant::{Database, ObjectId};
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::{aside, moment, number, table};

/// Show or set how much history is kept: of every object, or of one
///
/// The newest version is always kept. The next `compact` drops the rest; the headers of dropped
/// versions stay, so lineages still verify.
#[derive(Debug, Args)]
pub(crate) struct Retain {
    /// The object; without one, every object that has no rule of its own
    object: Option<String>,

    /// Keep every version
    #[arg(long, group = "rule")]
    all: bool,

    /// Keep this many versions
    #[arg(long, group = "rule", value_name = "COUNT", value_parser = number::parse_some)]
    versions: Option<u64>,

    /// Keep the versions of this span, such as 30d or 12h
    #[arg(long, group = "rule", value_name = "SPAN", value_parser = moment::parse_span)]
    age: Option<Duration>,
}

impl Retain {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let show_or_set = |db: &Database| {
            let object = self.object.as_deref().map(|name| target::find(db, name)).transpose()?;
            let before = db.retention(object)?;
            if let Some(rule) = self.rule() {
                db.set_retention(object, rule)?;
                let whose = object.map_or("objects".to_string(), |id| format!("object {id}"));
                let what = format!("the retention rule of {whose} is set");
                printer.done(what, document(object, rule));
                if rule == before {
                    let message = "the rule is the same as before: nothing changes";
                    aside::note(printer, "same-rule", message);
                }
            }
            let rule = db.retention(object)?;
            if printer.is_json() {
                return printer.document(&document(object, rule));
            }
            let every = || "every object without a rule of its own".to_string();
            let object = object.map_or_else(every, |id| id.to_string());
            printer.pairs(&[("object", object), ("kept", show(rule))])
        };
        match self.rule() {
            Some(_) => target.with(show_or_set),
            None => target.reading(show_or_set),
        }
    }

    fn rule(&self) -> Option<Retention> {
        let all = self.all.then_some(Retention::All);
        let versions = self.versions.map(Retention::Versions);
        all.or(versions).or(self.age.map(Retention::Age))
    }
}

fn document(object: Option<ObjectId>, rule: Retention) -> Json {
    let (versions, age) = match rule {
        Retention::All => (None, None),
        Retention::Versions(count) => (Some(count), None),
        Retention::Age(span) => (None, Some(moment::milliseconds(span))),
    };
    let object = object.map(|id| id.to_string());
    json!({ "object": object, "versions": versions, "age_ms": age })
}

fn show(rule: Retention) -> String {
    match rule {
        Retention::All => "every version".to_string(),
        Retention::Versions(1) => "the newest version".to_string(),
        Retention::Versions(count) => format!("{} versions", table::grouped(count)),
        Retention::Age(span) => {
            let milliseconds = moment::milliseconds(span);
            let (count, unit) = match milliseconds % 1000 {
                0 => (milliseconds / 1000, "s"),
                _ => (milliseconds, "ms"),
            };
            format!("the versions of {} {unit}", table::grouped(count))
        }
    }
}
