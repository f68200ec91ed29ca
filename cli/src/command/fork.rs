//! `fork`: makes an object from a version of another.

use clap::Args;

use super::create;
use crate::failure::Result;
use crate::number;
use crate::printer::Printer;
use crate::target::{self, Target};

/// Make a new object from a version of another
///
/// The fork begins as the other object was then, with its code and its policy, and has a lineage of
/// its own.
#[derive(Debug, Args)]
pub(crate) struct Fork {
    /// The object: its name, its id, or the first four digits or more of its id
    object: String,
    /// The version [default: the newest]
    #[arg(value_parser = number::parse::<u64>)]
    seq: Option<u64>,
    /// A name by which this database knows the new object
    #[arg(long)]
    name: Option<String>,
    /// Leave out the version's wake: the fork does not run by itself before it is asked to
    #[arg(long)]
    no_wake: bool,
}

impl Fork {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            let seq = match self.seq {
                Some(seq) => seq,
                None => db.info(id)?.seq,
            };
            let name = self.name.as_deref();
            let forked = match self.no_wake {
                true => db.fork_without_wake(id, seq, name)?,
                false => db.fork(id, seq, name)?,
            };
            create::created(printer, forked, name);
            let time = db.snapshot(forked)?.header().time;
            create::print(printer, forked, self.name.as_deref(), time, None)
        })
    }
}
