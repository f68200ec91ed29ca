//! The check of everything: every byte of the log read and verified, every record decoded and
//! linked to its predecessors, and the index compared with the log.
//!
//! The state of objects by the log is held for a part of them at a time, which fits into the memory
//! that the options state; the log is read again for the next part.
//!
//! It reports and never stops at damage. It does not verify signatures, roots or admissions: that
//! is the verification of a lineage, which the crates above do.

mod aftermath;
mod comparison;
mod evidence;
mod part;
mod pass;
pub(crate) mod report;
mod walk;

use crate::error::Result;
use crate::log::segment::Tail;
use crate::record::loss::RecordedLoss;
use crate::record::mark::OutboxPlace;
use crate::record::retention::Retention;
use crate::store::{Inner, Store};
use crate::upkeep::check::aftermath::Aftermath;
use crate::upkeep::check::comparison::Comparison;
use crate::upkeep::check::evidence::Leaves;
use crate::upkeep::check::part::Parts;
use crate::upkeep::check::report::{Damage, FINDINGS_MAX, Report, index_differs};
use crate::upkeep::check::walk::Walk;
use crate::upkeep::progress::{GoesOn, Progress};

/// The content of memory, or of the index behind it, that does not belong to one object.
struct Now {
    end: Tail,
    outboxes: Vec<(String, OutboxPlace)>,
    losses: Vec<RecordedLoss>,
    /// The rule, or what is wrong with its row.
    retention: Result<Retention>,
}

impl Store {
    /// Walks the log and the index as they are now; calls `progress` with the bytes of the log
    /// done, and the total, which grows once it is known that the log is to be read again; it may
    /// stop the check ([`GoesOn`]). It holds [`check_bytes_max`](crate::Options::check_bytes_max),
    /// half as much and the mail of one object if that takes most of it, and the messages on their
    /// way.
    ///
    /// # Errors
    ///
    /// Those of the file system that keep it from walking on, or from reading again what it read
    /// before; damage is in the report, and so are other failed reads. After either the store must
    /// be opened again. [`Stopped`](crate::ErrorKind::Stopped) when `progress` asks for it.
    pub fn check<P: GoesOn>(&self, mut progress: impl FnMut(u64, u64) -> P) -> Result<Report> {
        let inner = self.inner();
        let mut progress = |done, all| progress(done, all).goes_on();
        let mut report = inner.heed(self.walk(&mut progress))?;
        if !report.is_sound() {
            inner.heed(explain(inner, &mut report, &mut progress))?;
        }
        let failed = report.failure.clone().map_or(inner.index.health(), Err);
        if let Err(error) = &failed
            && error.is_of_resources()
        {
            return Err(error.clone());
        }
        // It is in the report, or came to nothing there.
        drop(inner.heed(failed));
        Ok(report)
    }

    fn walk(&self, progress: Progress<'_>) -> Result<Report> {
        let inner = self.inner();
        inner.log.wait_durable(inner.log.tail().end)?;
        let mut evidence = inner.evidence.lock();
        let mut heads = inner.heads.lock();
        let mut comparison = Comparison::new(inner, &heads)?;
        let now = Now {
            end: inner.log.tail(),
            outboxes: heads.outboxes().map(|(name, at)| (name.clone(), at)).collect(),
            losses: heads.losses().to_vec(),
            retention: comparison.retention(&heads),
        };
        evidence.take(heads.take_leaves());
        drop(heads);
        inner.log.wait_durable(now.end.end)?;
        evidence.fold(now.end.end);
        let leaves = Leaves::new(inner.index.reading()?, &evidence);
        drop(evidence);
        let mut walk = Walk::new(inner, leaves);
        if let Err(error) = inner.directory.check() {
            walk.report.find(error);
        }
        walk.log(now.end, progress)?;
        compare_now(&mut walk, &now);
        let mut report = std::mem::take(&mut walk.report);
        report.pass_count = 1;
        match self.doubtful_names(FINDINGS_MAX) {
            Ok(names) => report.doubtful_names = names,
            Err(error) => report.find(error),
        }
        let mut parts = Parts::new();
        loop {
            let (next, part) = (parts.next(&walk.load), walk.load.part);
            if !walk.load.is_full() {
                let mut kept = walk.kept;
                report.object_count += kept.objects.len() as u64;
                let deleted = kept.objects.values().filter(|row| row.deleted);
                report.deleted_count += deleted.count() as u64;
                report.take(std::mem::take(&mut kept.found));
                comparison.part(part, kept, &mut report);
            }
            let Some(part) = next else { break };
            walk = Walk::again(inner, part);
            let (passed, left) = (report.pass_count, parts.left(part));
            walk.log(now.end, &mut |done, all| {
                let before = all.saturating_mul(passed);
                let behind = all.saturating_mul(left.saturating_add(1));
                progress(before.saturating_add(done), before.saturating_add(behind))
            })?;
            report.pass_count += 1;
            report.take_again(std::mem::take(&mut walk.report))?;
        }
        comparison.finish(&mut report);
        Ok(report)
    }
}

/// Compares entries that do not belong to one object with memory.
fn compare_now(walk: &mut Walk<'_>, now: &Now) {
    if let Some(leaves) = walk.leaves.take() {
        leaves.finish(&mut walk.report);
    }
    match &now.retention {
        Ok(rule) if *rule == walk.retention.unwrap_or_default() => {}
        Ok(_) => walk.report.find(index_differs("the rule of retention".to_string())),
        Err(error) => walk.report.find(error.clone()),
    }
    if now.losses != walk.report.losses {
        walk.report.find(index_differs("the losses on record".to_string()));
    }
    let outboxes = walk.outboxes.iter().map(|(name, at)| (name.clone(), *at));
    if !outboxes.eq(now.outboxes.iter().cloned()) {
        walk.report.find(index_differs("the outboxes".to_string()));
    }
}

/// Puts the broken frames of the log in place of all that follows from them.
fn explain(inner: &Inner, report: &mut Report, progress: Progress<'_>) -> Result<()> {
    // The index is read first: its rows are before the end of the log.
    let index = inner.index.reading()?;
    let end = inner.log.tail();
    inner.log.wait_durable(end.end)?;
    let Aftermath { faults, fault_count, lost, pass_count } =
        Aftermath::read(inner, &index, end, progress)?;
    report.pass_count += pass_count;
    if fault_count == 0 {
        return Ok(());
    }
    let mut found = std::mem::take(&mut report.apart);
    let apart_count = found.len();
    // The walk has met the cause of an unreadable frame, too.
    found.retain(|apart| !faults.iter().any(|fault| fault.is_same(&apart.0)));
    let met_twice = (apart_count - found.len()) as u64;
    let count = report.apart_count - met_twice + fault_count;
    found.extend(faults.into_iter().map(Damage));
    found.truncate(FINDINGS_MAX);
    assert!(found.len() as u64 <= count, "what is listed is counted");
    report.consequence_count = report.damage_count.saturating_sub(count);
    (report.damage_count, report.damage) = (count, found);
    report.lost_count = lost.count;
    report.lost = lost.named(&index)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use object::time::Time;
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use object::hash::{CodeHash, ObjectId, PolicyHash, VersionHash};
    use tempfile::TempDir;

    use super::*;
    use crate::error::position::Position;
    use crate::options::Options;
    use crate::record::BlobHash;
    use crate::record::message::{Dead, MessageId, Sent};
    use crate::record::name::NameRow;
    use crate::record::retention::Retention;
    use crate::rows::heads::{Entry, Generation};
    use crate::rows::row::Row;

    /// A database of two objects, each with a name.
    fn database() -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-2");
        std::fs::create_dir(directory.path().join("log")).expect("a directory");
        for file in ["continuant.db", "log/00000001.log"] {
            std::fs::copy(fixture.join(file), directory.path().join(file)).expect("a file");
        }
        directory
    }

    fn message(to: ObjectId) -> (MessageId, Dead) {
        let sent = Sent { version: VersionHash([3; 32]), index: 0 };
        let id = MessageId { to, position: Position(5), number: 0 };
        (id, Dead { sent, why: "no".to_string() })
    }

    /// A kind of damage: its description, how often it is found, and the generations of rows that
    /// make such an index.
    type Damage = (&'static str, usize, fn([(ObjectId, Row); 2]) -> Vec<Generation>);

    fn row_of(id: ObjectId, row: Row, indexed_wake: Option<Time>) -> Generation {
        let mut generation = Generation::default();
        generation.rows.insert(id, Entry { row: Arc::new(row), indexed_wake });
        generation
    }

    fn with(change: impl FnOnce(&mut Generation)) -> Vec<Generation> {
        let mut generation = Generation::default();
        change(&mut generation);
        vec![generation]
    }

    const DAMAGES: [Damage; 10] = [
        ("the row of", 1, |[(id, row), _]| {
            let wake = row.armed();
            vec![row_of(id, Row { created: Time::from_millis(1), ..row }, wake)]
        }),
        ("not in the log", 1, |[(_, row), _]| {
            vec![row_of(ObjectId([7; 32]), Row { wake: None, ..row }, None)]
        }),
        ("a wake of", 2, |both| {
            let more = |(id, row): (ObjectId, Row)| {
                let (wake, other) =
                    (row.armed(), Row { wake: Some(Time::from_millis(5)), ..row.clone() });
                [row_of(id, other, None), row_of(id, row, wake)]
            };
            both.into_iter().flat_map(more).collect()
        }),
        // Only one of the two is to wake.
        ("no wake of", 1, |both| {
            let less = |(id, row): (ObjectId, Row)| {
                let (wake, other) = (row.armed(), Row { wake: None, ..row.clone() });
                [row_of(id, other, wake), row_of(id, row, wake)]
            };
            both.into_iter().flat_map(less).collect()
        }),
        ("the name \"nobody\"", 1, |[(id, _), _]| {
            let row = NameRow { holder: Some(id), at: Position(1) };
            with(|index| index.names.extend([("nobody".to_string(), row)]))
        }),
        ("the name", 1, |[_, (_, other)]| {
            let row = NameRow { holder: None, at: other.genesis };
            with(|index| index.names.extend([(other.name.expect("it has a name"), row)]))
        }),
        ("the place of the blob", 1, |[(_, row), _]| {
            with(|index| index.blobs.extend([(BlobHash::Code(row.code), Position(1))]))
        }),
        ("the place of the blob", 2, |_| {
            with(|index| {
                index.blobs.insert(BlobHash::Policy(PolicyHash([9; 32])), Position(1));
                index.blobs.insert(BlobHash::Code(CodeHash([200; 32])), Position(1));
            })
        }),
        ("the dead letters", 1, |both| {
            with(|index| {
                for (id, dead) in both.map(|(id, _)| message(id)) {
                    index.messages.dead.insert(id, Some(dead));
                }
            })
        }),
        ("the messages on their way", 1, |both| {
            with(|index| {
                index.retention = Some(Retention::Versions(3));
                for (id, dead) in both.map(|(id, _)| message(id)) {
                    index.messages.send(id, dead.sent);
                }
            })
        }),
    ];

    fn findings(path: &Path, bytes_max: usize) -> (Report, BTreeSet<String>) {
        let store = Options::new().check_bytes_max(bytes_max).open(path).expect("it opens");
        let report = store.check(|_, _| {}).expect("it is checked");
        let findings = report.damage.iter().map(ToString::to_string).collect();
        (report, findings)
    }

    #[test]
    fn what_is_wrong_in_the_index_is_found_once_in_however_many_parts() {
        for (expected, count, damage) in DAMAGES {
            let directory = database();
            let path = directory.path();
            let store = Options::new().open(path).expect("it opens");
            assert!(store.check(|_, _| {}).expect("it is checked").is_sound());
            store.checkpoint().expect("the index is written");
            let (inner, listed) = (store.inner(), store.list(None, 2).expect("two objects"));
            let row = |at: usize| {
                let (id, index) = (listed[at].id, inner.index.reading().expect("the index"));
                (id, index.row(id).expect("a row").expect("a row"))
            };
            for generation in damage([row(0), row(1)]) {
                let written = inner.index.write(&generation, inner.log.tail(), None);
                written.expect("it is written");
            }
            drop(store);
            let (whole, found) = findings(path, 1 << 20);
            assert_eq!(whole.pass_count, 2, "the log is read for what is lost");
            let fits = found.iter().filter(|found| found.contains(expected)).count();
            assert_eq!(fits, count, "{expected}: {found:?}");
            for bytes_max in [1, 1500, 2500] {
                let (parts, same) = findings(path, bytes_max);
                assert!(parts.pass_count > 2, "{bytes_max} bytes");
                assert_eq!(same, found, "{bytes_max} bytes");
                assert_eq!(parts.damage_count, whole.damage_count, "{expected}");
            }
        }
    }

    /// Regression: the check ended with an error, and nothing else was found.
    #[test]
    fn a_rule_of_retention_that_cannot_be_read_is_one_finding_of_all() {
        let directory = database();
        let path = directory.path();
        let store = Options::new().open(path).expect("it opens");
        store.set_retention(None, Retention::Versions(3)).expect("a rule");
        store.checkpoint().expect("the index is written");
        store.inner().index.spoil_retention();
        store.inner().index.put_keys(&[&[0xdd; 32]]);
        drop(store);
        let (whole, found) = findings(path, 1 << 20);
        let count = |what: &str| found.iter().filter(|found| found.contains(what)).count();
        assert_eq!(count("the rule of retention does not match its check"), 1, "{found:?}");
        assert_eq!((count(", not in the log"), whole.damage_count), (1, 2), "{found:?}");
        let (parts, same) = findings(path, 1);
        assert_eq!((parts.damage_count, same), (2, found));
    }

    /// Regression: a version's record that ends in its header was found a second time in parts.
    #[test]
    fn records_that_are_too_short_are_found_once_in_however_many_parts() {
        let directory = database();
        let path = directory.path();
        let store = Options::new().open(path).expect("it opens");
        let inner = store.inner();
        for (tag, length) in (0..32).flat_map(|tag| [0, 8, 40, 400].map(|length| (tag, length))) {
            let mut body = vec![tag];
            body.extend_from_slice(&u32::to_le_bytes(length));
            body.resize(body.len() + length as usize, 7);
            let pushed = inner.log.push(&body, blake3::hash(&body), Box::new(drop));
            let pushed = pushed.map_err(|(error, _)| error).expect("it is appended");
            pushed.commit().expect("it is durable");
        }
        // Opening the database reads none of them.
        let written = inner.index.write(&Generation::default(), inner.log.tail(), None);
        written.expect("it is written");
        drop(store);
        let (whole, found) = findings(path, 1 << 20);
        let of_version = found.iter().filter(|found| found.contains("version header")).count();
        assert!(of_version > 3 && whole.damage_count > 60, "{found:?}");
        for bytes_max in [1, 1500] {
            let (parts, same) = findings(path, bytes_max);
            assert!(parts.pass_count > 2, "{bytes_max} bytes");
            assert_eq!((parts.damage_count, same), (whole.damage_count, found.clone()));
        }
    }

    /// Regression: the key ended the rows of the part before it, and no part examined it.
    #[test]
    fn rows_behind_a_key_that_is_no_id_are_looked_at() {
        let directory = database();
        let path = directory.path();
        let store = Options::new().open(path).expect("it opens");
        let before = [[0xee; 32], [0xff; 32]].map(|mut key| {
            key[31] = 0;
            key
        });
        let longer = [&before[0][..], &[7; 9]].concat();
        let keys = [&[0xdd; 3][..], &before[0], &longer, &before[1]];
        store.inner().index.put_keys(&keys);
        drop(store);
        let (whole, found) = findings(path, 1 << 20);
        let count = |what: &str| found.iter().filter(|found| found.contains(what)).count();
        assert_eq!((count("a row without an id"), count(", not in the log")), (1, 2), "{found:?}");
        assert_eq!(whole.damage_count, 4);
        let (parts, same) = findings(path, 1);
        assert_eq!((parts.damage_count, same), (4, found));
    }
}
