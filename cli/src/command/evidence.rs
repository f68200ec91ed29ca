//! `evidence`: the size and the root of the tree over all that the database put on record.

use clap::Args;
use continuant::TreeHead;
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::printer::Printer;
use crate::table::grouped;
use crate::target::Target;

/// Show the size and the root of the evidence tree
///
/// The tree has a leaf for every version and every refusal, in the order in which the database put
/// them on record, and its root, a SHA-256 hash in the form of RFC 6962, commits to all of them.
/// With a root and its size, one finds out when a later tree does not continue that one: when
/// something was changed, cut off or left out.
#[derive(Debug, Args)]
pub(crate) struct Evidence {}

impl Evidence {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let evidence = db.evidence();
            match printer.is_json() {
                true => printer.document(&document(evidence)),
                false => printer.pairs(&pairs(evidence)),
            }
        })
    }
}

pub(super) fn document(TreeHead { size, root }: TreeHead) -> Json {
    json!({ "leaves": size, "root": root.to_string() })
}

pub(super) fn pairs(TreeHead { size, root }: TreeHead) -> [(&'static str, String); 2] {
    [("leaves", grouped(size)), ("root", root.to_string())]
}
