//! `compact`: lets go what retention does not keep, and compresses the rest.

use clap::Args;
use continuant::storage;
use serde_json::json;

use crate::failure::Result;
use crate::printer::Printer;
use crate::progress;
use crate::session::Session;
use crate::table::grouped;

/// Let go what `retain` does not keep, and compress the rest
///
/// Only full segments of the log are touched; the newest is left as it is. The index's file gives
/// back what is free in it at the end.
#[derive(Debug, Args)]
pub(crate) struct Compact {}

impl Compact {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        let Compact {} = self;
        let storage = storage::Options::new().existing(true).compact_index(true);
        session.with_storage(storage, |db| {
            let bar = progress::bar("compacting", 0);
            let compacted = db.compact(progress::follow(&bar))?;
            bar.finish_and_clear();
            if printer.is_json() {
                return printer.document(&json!({
                    "segments": compacted.segment_count,
                    "bytes_before": compacted.bytes_before,
                    "bytes_after": compacted.bytes_after,
                    "versions_dropped": compacted.trimmed_count,
                }));
            }
            printer.pairs(&[
                ("segments", grouped(compacted.segment_count)),
                ("bytes before", grouped(compacted.bytes_before)),
                ("bytes after", grouped(compacted.bytes_after)),
                ("versions dropped", grouped(compacted.trimmed_count)),
            ])
        })
    }
}
