//! `name`: the names of objects: set, moved, freed, and who had them.

use clap::Subcommand;
use continuant::{Database, NameHolding, NameMoment, ObjectId};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::{Align, Table};
use crate::target::{self, Target};
use crate::{aside, moment};

/// Set, move and free the names of objects, and show who had one
///
/// A name is this database's: no policy is asked, and a capsule has none. An object has at most one
/// name, and a name at most one object. Each change is whole or not at all.
#[derive(Debug, Subcommand)]
pub(crate) enum Name {
    /// Give an object a name that no object has, in place of its own
    Set {
        /// The object: its name, its id, or the first four digits or more of its id
        object: String,
        /// The name
        name: String,
    },
    /// Move a name to another object, in place of that one's own
    Move {
        /// The name
        name: String,
        /// The object that gets it
        to: String,
    },
    /// Free a name: the object that has it has none from then on
    Free {
        /// The name
        name: String,
    },
    /// Print the objects that had a name, newest first
    History {
        /// The name
        name: String,
    },
}

impl Name {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        match &self {
            Name::Set { object, name } => target.with(|db| set(db, object, name, printer)),
            Name::Move { name, to } => target.with(|db| {
                let to = target::find(db, to)?;
                require_holder(db, name)?;
                let from = db.move_name(name, to)?;
                changed(printer, name, Some(from), Some(to))
            }),
            Name::Free { name } => target.with(|db| {
                require_holder(db, name)?;
                let from = db.free_name(name)?;
                changed(printer, name, Some(from), None)
            }),
            Name::History { name } => target.reading(|db| history(db, name, printer)),
        }
    }
}

fn set(db: &Database, object: &str, name: &str, printer: &mut Printer) -> Result<()> {
    let id = target::find(db, object)?;
    let before = db.set_name(id, name)?;
    let what = format!("object {id} has the name {name:?}");
    let document = json!({ "object": id.to_string(), "name": name, "before": before });
    printer.done(what, document.clone());
    if printer.is_json() {
        return printer.document(&document);
    }
    let mut pairs = vec![("object", id.to_string()), ("name", name.to_string())];
    pairs.extend(before.map(|before| ("before", before)));
    printer.pairs(&pairs)
}

/// Checks that an object has the name, before one is asked to change it.
fn require_holder(db: &Database, name: &str) -> Result<()> {
    match db.find(name)? {
        Some(_) => Ok(()),
        None => {
            let ways = "`continuant list` shows all names";
            Err(Failure::missing("no-name", format!("no object has the name {name:?}: {ways}")))
        }
    }
}

/// Prints that a name went from an object to another, or to none.
fn changed(
    printer: &mut Printer,
    name: &str,
    from: Option<ObjectId>,
    to: Option<ObjectId>,
) -> Result<()> {
    let what = match to {
        Some(to) => format!("object {to} has the name {name:?}"),
        None => format!("the name {name:?} is free"),
    };
    let (from, to) = (from.map(|id| id.to_string()), to.map(|id| id.to_string()));
    let document = json!({ "name": name, "from": from, "to": to });
    printer.done(what, document.clone());
    if printer.is_json() {
        return printer.document(&document);
    }
    let mut pairs = vec![("name", name.to_string())];
    pairs.extend(from.map(|from| ("from", from)));
    pairs.push(("to", to.unwrap_or_else(|| "nobody".to_string())));
    printer.pairs(&pairs)
}

fn history(db: &Database, name: &str, printer: &mut Printer) -> Result<()> {
    let mut holdings = db.name_history(name)?.peekable();
    if holdings.peek().is_none() {
        aside::note(printer, "no-name", "no object ever had that name");
        return Ok(());
    }
    if printer.is_json() {
        return holdings.try_for_each(|holding| printer.document(&document(name, &holding?)));
    }
    let mut table = Table::new([
        ("object", Align::Left),
        ("from", Align::Left),
        ("at", Align::Left),
        ("until", Align::Left),
        ("at", Align::Left),
    ]);
    for holding in holdings {
        table.row(printer, cells(holding?))?;
    }
    table.end(printer)
}

fn cells(holding: NameHolding) -> [String; 5] {
    let NameHolding { object, from, until } = holding;
    let show = |moment: Option<NameMoment>| match moment {
        Some(NameMoment { position, time, .. }) => [time.to_string(), position.to_string()],
        None => ["now".to_string(), String::new()],
    };
    let ([from, from_at], [until, until_at]) = (show(Some(from)), show(until));
    [target::short(&object), from, from_at, until, until_at]
}

fn document(name: &str, holding: &NameHolding) -> Json {
    json!({
        "name": name,
        "object": holding.object.to_string(),
        "from": moment_document(&holding.from),
        "until": holding.until.as_ref().map(moment_document),
    })
}

fn moment_document(moment: &NameMoment) -> Json {
    let position = moment.position.to_string();
    json!({ "time": moment::json(moment.time), "position": position })
}
