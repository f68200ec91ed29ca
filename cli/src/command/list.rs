//! `list`: the objects of a database.

use clap::Args;
use continuant::ObjectInfo;
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::moment;
use crate::printer::Printer;
use crate::session::{Session, short};
use crate::table::{Align, Table};

/// List the objects
#[derive(Debug, Args)]
pub(crate) struct List {}

impl List {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.with(|db| {
            if printer.is_json() {
                return db.objects().try_for_each(|info| printer.document(&document(&info?)));
            }
            let mut table = Table::new([
                ("object", Align::Left),
                ("version", Align::Right),
                ("refusals", Align::Right),
                ("changed", Align::Left),
                ("next wake", Align::Left),
                ("name", Align::Left),
            ]);
            for info in db.objects() {
                table.row(printer, cells(info?))?;
            }
            table.end(printer)
        })
    }
}

fn cells(info: ObjectInfo) -> [String; 6] {
    [
        short(&info.id),
        info.seq.to_string(),
        info.refusal_count.to_string(),
        moment::show(info.time),
        info.wake.map_or("-".to_string(), moment::show),
        info.name.unwrap_or_default(),
    ]
}

fn document(info: &ObjectInfo) -> Json {
    json!({
        "object": info.id.to_string(),
        "name": info.name,
        "seq": info.seq,
        "hash": info.hash.to_string(),
        "created": moment::json(info.created),
        "time": moment::json(info.time),
        "wake": moment::json(info.wake),
        "refusals": info.refusal_count,
        "code": info.code.to_string(),
        "policy": info.policy.to_string(),
    })
}
