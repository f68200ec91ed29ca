//! `list`: the objects of a database, or some of them.

use clap::Args;
use continuant::{Database, ObjectInfo, Objects, Time};
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::printer::Printer;
use crate::table::{Align, Table};
use crate::target::{self, Target, short};
use crate::{aside, moment, number};

/// List the objects, in the order of their ids
///
/// Names have an index; by code and by time every object is looked at.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// List objects whose names begin with this
    #[arg(long, value_name = "PREFIX")]
    name: Option<String>,

    /// List objects that run the code with this hash, as --json and `show` print it, or its first
    /// digits
    #[arg(long, value_name = "HASH")]
    code: Option<String>,

    /// List objects created at this time or later
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    created_since: Option<Time>,

    /// List objects created at this time or before
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    created_until: Option<Time>,

    /// List objects changed at this time or later
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    changed_since: Option<Time>,

    /// List objects changed last at this time or before
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    changed_until: Option<Time>,

    /// List objects that were not deleted
    #[arg(long)]
    living: bool,

    /// List objects behind this one: give the last one of a list to continue it
    #[arg(long, value_name = "OBJECT")]
    after: Option<String>,

    /// List at most this many
    #[arg(long, value_name = "COUNT", value_parser = number::parse::<usize>)]
    limit: Option<usize>,
}

impl List {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            target::mention_losses(db);
            let (mut objects, now) = (self.query(db)?.peekable(), db.now());
            if objects.peek().is_none() {
                aside::note(printer, "no-objects", self.nothing());
                return Ok(());
            }
            if printer.is_json() {
                return objects.try_for_each(|info| printer.document(&document(&info?, now)));
            }
            let mut table = Table::new([
                ("object", Align::Left),
                ("version", Align::Right),
                ("refusals", Align::Right),
                ("changed", Align::Left),
                ("next wake", Align::Left),
                ("name", Align::Left),
            ]);
            for info in objects {
                table.row(printer, cells(info?, now))?;
            }
            table.end(printer)
        })
    }

    /// Returns the line that is printed when there are no objects.
    fn nothing(&self) -> &'static str {
        let times = [self.created_since, self.created_until, self.changed_since];
        let is_narrowed = self.name.is_some() || self.code.is_some() || self.after.is_some();
        let is_narrowed = is_narrowed || self.living;
        let is_timed = times.iter().chain([&self.changed_until]).any(Option::is_some);
        match is_narrowed || is_timed {
            _ if self.limit == Some(0) => "--limit 0 lists none",
            true => "no object matches",
            false => "the database has no object",
        }
    }

    fn query<'a>(&self, db: &'a Database) -> Result<Objects<'a>> {
        let after = self.after.as_ref().map(|after| target::find(db, after)).transpose()?;
        let code = self.code.as_ref().map(|code| target::find_code(db, code)).transpose()?;
        let objects = if self.living { db.objects().living() } else { db.objects() };
        let objects = objects.after(after).limit(self.limit.unwrap_or(usize::MAX));
        Ok(objects
            .named(self.name.as_deref().unwrap_or_default())
            .code(code)
            .created_since(self.created_since.unwrap_or(Time::MIN))
            .created_until(self.created_until.unwrap_or(Time::MAX))
            .changed_since(self.changed_since.unwrap_or(Time::MIN))
            .changed_until(self.changed_until.unwrap_or(Time::MAX)))
    }
}

fn cells(info: ObjectInfo, now: Time) -> [String; 6] {
    let ahead = Some(info.time.saturating_duration_since(now)).filter(|by| !by.is_zero());
    let ahead = ahead.map_or(String::new(), |by| format!(" ({} ahead)", moment::show_span(by)));
    [
        short(&info.id),
        info.seq.to_string(),
        info.refusal_count.to_string(),
        info.time.to_string() + &ahead,
        match info.wake.filter(|_| !info.moved) {
            _ if info.moved => "moved away".to_string(),
            _ if info.deleted.is_some() => "deleted".to_string(),
            wake => wake.map_or("-".to_string(), |time| time.to_string()),
        },
        info.name.unwrap_or_default(),
    ]
}

fn document(info: &ObjectInfo, now: Time) -> Json {
    json!({
        "object": info.id.to_string(),
        "name": info.name,
        "seq": info.seq,
        "hash": info.hash.to_string(),
        "created": moment::json(info.created),
        "time": moment::json(info.time),
        "ahead_ms": moment::milliseconds(info.time.saturating_duration_since(now)),
        "wake": moment::json(info.wake),
        "moved": info.moved,
        "deleted": moment::json(info.deleted),
        "refusals": info.refusal_count,
        "code": info.code.to_string(),
        "policy": info.policy.to_string(),
    })
}
