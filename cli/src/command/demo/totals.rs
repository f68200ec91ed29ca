//! The month in figures, read from the objects: the fields of their newest versions, and the
//! refusals in their lineages.
//!
//! This module does not know the rows.

use std::collections::BTreeMap;

use continuant::{Database, Entry, ObjectId, ObjectInfo, Snapshot, Time, Value};

use crate::failure::{Failure, Result};

/// Rules that are named even when they refused nothing.
const RULES: [&str; 3] = ["operator", "overlap", "inspection"];

/// Sums over all aircraft.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) aircraft: u64,
    pub(super) versions: u64,
    pub(super) flights: u64,
    pub(super) cancellations: u64,
    pub(super) diversions: u64,
    pub(super) notices: u64,
    pub(super) inspections: u64,
    pub(super) minutes: u64,
    pub(super) miles: u64,
    pub(super) refused: u64,
    /// Refusals by the rules that refused; one counts under each of them.
    pub(super) refused_by: Vec<(String, u64)>,
    /// The aircraft, in the order of their ids.
    pub(super) ids: Vec<ObjectId>,
    /// The aircraft with the earliest inspection.
    pub(super) next_due: Option<Due>,
}

/// An aircraft with a notice open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// The time of its next own cycle.
    pub(super) wake: Time,
    pub(super) id: ObjectId,
}

impl Totals {
    /// Asks every object of `db`.
    pub(super) fn of(db: &Database) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut rules: BTreeMap<String, u64> = BTreeMap::new();
        for info in db.objects() {
            let info = info?;
            totals.add(&info, &db.snapshot(info.id)?)?;
            for entry in db.history(info.id).refused() {
                let Entry::Refusal(entry) = entry? else { continue };
                totals.refused += 1;
                let verdict = entry.refusal.verdict;
                let native = vec![verdict.reason.name().to_string()];
                let by = if verdict.rules.is_empty() { native } else { verdict.rules };
                by.into_iter().for_each(|rule| *rules.entry(rule).or_default() += 1);
            }
        }
        let named = |rule: &str| (rule.to_string(), rules.get(rule).copied().unwrap_or(0));
        totals.refused_by = RULES.iter().map(|rule| named(rule)).collect();
        rules.retain(|rule, _| !RULES.contains(&rule.as_str()));
        totals.refused_by.extend(rules);
        Ok(totals)
    }

    fn add(&mut self, info: &ObjectInfo, snapshot: &Snapshot) -> Result<()> {
        self.aircraft += 1;
        self.versions += snapshot.header().seq + 1;
        for (sum, field) in [
            (&mut self.flights, "flights"),
            (&mut self.cancellations, "cancellations"),
            (&mut self.diversions, "diversions"),
            (&mut self.notices, "notices"),
            (&mut self.inspections, "inspections"),
            (&mut self.minutes, "minutes"),
            (&mut self.miles, "miles"),
        ] {
            *sum = add(*sum, snapshot.get(field)?, field)?;
        }
        self.ids.push(info.id);
        if let (Value::Option(Some(_)), Some(wake)) = (snapshot.value("notice")?, info.wake) {
            let due = Due { wake, id: info.id };
            self.next_due = Some(self.next_due.take().map_or(due.clone(), |first| first.min(due)));
        }
        Ok(())
    }
}

fn add(sum: u64, more: u64, field: &str) -> Result<u64> {
    let beyond = || Failure::new("limit", format!("the sum of {field} is beyond 2^64"));
    sum.checked_add(more).ok_or_else(beyond)
}
