//! `backup`: a copy of the database that is brought up to date again and again.

use std::path::PathBuf;

use clap::Args;
use continuant::Error;
use continuant::storage::{BackupReport, Mended};
use serde_json::json;

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::grouped;
use crate::target::Target;
use crate::{aside, moment, progress};

/// Bring a backup up to date; make it when the directory is missing or empty
///
/// Copies only the part that the backup does not have. What retention dropped from the database
/// goes from the backup too: no restore has it any more, and a note says how many versions that
/// are. Verifies the part that it has, a portion
/// in each backup; a damaged portion is copied again, and reported with exit code 4. `restore`
/// makes a database of the backup again.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The directory of the backup
    to: PathBuf,

    /// Read and verify all that the backup has already
    #[arg(long)]
    verify: bool,
}

impl Backup {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let bar = progress::bytes("backing up", 0);
            let made = progress::in_order(bar, |progress| match self.verify {
                true => db.backup_verifying(&self.to, progress),
                false => db.backup(&self.to, progress),
            });
            let report = made.map_err(|error| target.waited(self.explained(error)))?;
            let (to, end) = (self.to.display().to_string(), report.end.to_string());
            printer
                .done(format!("the backup {to}, up to {end}"), json!({ "backup": to, "end": end }));
            self.print(&report, printer)?;
            if report.trimmed_count > 0 {
                let versions = grouped(report.trimmed_count);
                let message = format!(
                    "the backup had {versions} versions whole of which it has the headers alone \
                     now, as the database since a compaction: no restore has them any more"
                );
                aside::note(printer, "versions-dropped", &message);
            }
            match report.mended.len() {
                0 => Ok(()),
                count => Err(Failure::damaged(
                    "mended",
                    format!(
                        "{count} of the backup's files had lost or changed bytes, and were mended: \
                         do not trust the backup's disk"
                    ),
                )),
            }
        })
    }

    fn explained(&self, error: Error) -> Failure {
        let to = self.to.display();
        let message = "is as it was, or up to date, or, if it is new, unfinished; run `backup` \
                       again to continue";
        Failure::unless_stopped(error, format!("{to} {message}"))
    }

    fn print(&self, report: &BackupReport, printer: &mut Printer) -> Result<()> {
        let to = self.to.display().to_string();
        let contents = &report.contents;
        if printer.is_json() {
            return printer.document(&json!({
                "backup": to,
                "end": report.end.to_string(),
                "bytes": report.bytes,
                "new_bytes": report.new_bytes,
                "written_bytes": report.written_bytes,
                "frames": contents.frame_count,
                "objects": contents.object_count,
                "versions": contents.version_count,
                "refusals": contents.refusal_count,
                "versions_dropped": report.trimmed_count,
                "verified_bytes": report.verified_bytes,
                "verified": moment::json(report.verified),
                "mended": report.mended.iter().map(Mended::to_string).collect::<Vec<_>>(),
            }));
        }
        let verified = match report.verified {
            None => "not all yet".to_string(),
            Some(time) => format!("all, since {time}"),
        };
        printer.pairs(&[
            ("backup", to),
            ("creations and imports", grouped(contents.object_count)),
            ("versions", grouped(contents.version_count)),
            ("bytes", grouped(report.bytes)),
            ("new", grouped(report.new_bytes)),
            ("written", grouped(report.written_bytes)),
            ("verified", verified),
        ])?;
        report.mended.iter().try_for_each(|mended| printer.line(&format!("  {mended}")))
    }
}
