//! `dead-letters`: messages of objects that came to nothing.

use clap::Args;
use continuant::DeadLetter;
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::printer::Printer;
use crate::receipt;
use crate::session::{Session, short};
use crate::table::{Align, Table};

/// List the messages between objects that came to nothing, and why
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {}

impl DeadLetters {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        session.reading(|db| {
            if printer.is_json() {
                let mut letters = db.dead_letters();
                return letters.try_for_each(|letter| printer.document(&document(&letter?)));
            }
            let mut table = Table::new([
                ("from", Align::Left),
                ("version", Align::Right),
                ("to", Align::Left),
                ("method", Align::Left),
                ("why", Align::Left),
            ]);
            for letter in db.dead_letters() {
                table.row(printer, cells(letter?))?;
            }
            table.end(printer)
        })
    }
}

fn cells(letter: DeadLetter) -> [String; 5] {
    [
        short(&letter.sender),
        letter.seq.to_string(),
        short(&letter.id.to),
        letter.message.map_or("-".to_string(), |message| message.method),
        letter.why,
    ]
}

fn document(letter: &DeadLetter) -> Json {
    json!({
        "from": letter.sender.to_string(),
        "seq": letter.seq,
        "index": letter.index,
        "to": letter.id.to.to_string(),
        "message": letter.message.as_ref().map(receipt::message),
        "why": letter.why,
    })
}
