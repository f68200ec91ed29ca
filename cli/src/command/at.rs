//! `at`: any version of an object, by number or by time.

use std::str::FromStr;

use clap::Args;
use continuant::{Database, Error, ErrorKind, ObjectId, Snapshot, Time};

use super::show;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::{moment, number};

/// Show an object as it was
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The object
    object: String,

    /// The version's number, or a time: then the newest version that is not later. Digits alone are
    /// a number
    #[arg(value_name = "SEQ|TIME")]
    moment: Moment,
}

/// A version, by number or by time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    Seq(u64),
    Time(Time),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Moment, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return number::parse(text).map(Moment::Seq);
        }
        let time = moment::parse_past(text).map(Moment::Time);
        time.map_err(|expected| format!("a version's number, or a time: {expected}"))
    }
}

impl Moment {
    /// The version.
    pub(super) fn snapshot(self, db: &Database, id: ObjectId) -> Result<Snapshot> {
        Ok(match self {
            Moment::Seq(seq) => db.at(id, seq)?,
            Moment::Time(time) => {
                db.as_of(id, time).map_err(|error| explain(db, id, time, error))?
            }
        })
    }
}

fn explain(db: &Database, id: ObjectId, time: Time, error: Error) -> Failure {
    let (ErrorKind::NoVersion { .. }, Ok(info)) = (error.kind(), db.info(id)) else {
        return error.into();
    };
    let created = info.created;
    let message = format!("the object has no version of {time}: it was created at {created}");
    Failure::missing("no-version", message)
}

impl At {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let snapshot = self.moment.snapshot(db, id)?;
            if printer.is_json() {
                return printer.document(&show::version_document(&snapshot)?);
            }
            let mut pairs = vec![("object", id.to_string())];
            pairs.extend(show::version(&snapshot, db.now()));
            printer.pairs(&pairs)?;
            show::section(printer, "state", &show::state(&snapshot)?)
        })
    }
}
