//! Backups whose power is cut at every write and every sync: a first backup cannot be opened until
//! it is complete, nor restored into once it has a witness; a later one has its former content, or
//! all of the new one; and backing up again continues from there, also when the power is cut again.
//! A restored database is equal to the backup.
//!
//! A backup that is killed between any two changes continues later, and no damage is reported. Of a
//! backup whose former witness was put back a restore does not treat the end as confirmed.
//!
//! One seed in three lets retention trim the database: a restore to any place says which objects
//! have no state there. Files of a backup are cut, changed or removed: it is not restored as if it
//! were whole, and the next backup mends it and says so. Its marker is lost, cut or changed: it is
//! restored all the same, and the next backup makes the marker again, also when the power is cut.

use continuant::Time;
use object::hash::VersionHash;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use storage::{
    Direction, Error, ErrorKind, ObjectInfo, Options, Position, Report, Restoring, Retention,
    Store, Until,
};

use crate::disk::volume::{Change, NameChange, Node, Operation, Volume};
use crate::disk::{Leaves, SimulatedDisk};
use crate::generate::lineage::{Author, Ingredients};
use crate::generate::source;
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::targets::storage_model::model::Model;
use crate::targets::storage_model::{append, compare, draft, patient};
use crate::threads::watch_threads;

const DATABASE: &str = "/fleet";
const BACKUP: &str = "/backup";
const MARKER: &str = "/backup/continuant.db";
const WITNESS: &str = "/backup/backup.witness";
const RESTORED: &str = "/restored";
const HALF: &str = "/half";
/// Power cuts at each point.
const CUTS: [Leaves; 4] = [Leaves::Everything, Leaves::Nothing, Leaves::Some, Leaves::Some];

struct Run<'a> {
    rng: StdRng,
    tally: &'a Tally,
    parts: Ingredients,
    authors: Vec<Author>,
    /// The database's content after each frame.
    states: Vec<Model>,
    /// The end of each frame.
    places: Vec<Position>,
    /// True if versions that were the newest may be trimmed.
    trims: bool,
    /// The state of the last backup that succeeded.
    had: Option<usize>,
    /// The witness of the last backup that succeeded, and the end of its log.
    witness: Option<(Arc<[u8]>, Position)>,
}

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    watch_threads();
    let mut rng = source(seed);
    let parts = Ingredients::small(&mut rng);
    let (authors, trims) = (Vec::new(), seed % 3 == 2);
    let states = vec![Model::default()];
    let disk = SimulatedDisk::traced(Volume::new());
    let store = must("opening", options(&disk).open(DATABASE))?;
    let places = vec![must("figures", store.stats())?.durable];
    let (had, witness) = (None, None);
    let mut run = Run { rng, tally, parts, authors, states, places, trims, had, witness };
    for round in 0..run.rng.random_range(2..4) {
        run.append(&store)?;
        let problem = |problem| format!("backup {round}: {problem}");
        run.back_up(&store, &disk).map_err(problem)?;
    }
    Ok(())
}

fn options(disk: &SimulatedDisk) -> Options {
    patient().disk(Arc::new(disk.clone()))
}

/// Returns the versions of which the backup has more than their headers.
fn whole(disk: &SimulatedDisk) -> Result<BTreeSet<VersionHash>, String> {
    let found = must("opening the backup", options(disk).read_only(true).open(BACKUP))?;
    let mut whole = BTreeSet::new();
    for info in must("listing the backup", found.list(None, usize::MAX))? {
        let versions = found.versions(info.id, 0..info.seq + 1, Direction::Forward);
        for version in must("the versions", versions)? {
            let version = must("a version", version)?;
            whole.extend(version.payloads().map(|_| version.hash()));
        }
    }
    Ok(whole)
}

impl Run<'_> {
    fn append(&mut self, store: &Store) -> Outcome {
        for _ in 0..self.rng.random_range(0..25) {
            let mut model = self.states.last().expect("there is one").clone();
            let draft = draft(&mut self.rng, &self.parts, &mut self.authors, &model);
            must("appending", append(store, &self.parts, &draft))?;
            model.apply(&draft);
            self.states.push(model);
            must("writing", store.sync())?;
            self.places.push(must("figures", store.stats())?.durable);
        }
        if self.trims {
            let kept = self.rng.random_range(1..10);
            must("a rule", store.set_retention(None, Retention::Versions(kept)))?;
        }
        match self.rng.random_range(0..4) {
            0 => drop(must("compacting", store.compact(Time::MIN, |_, _| {}))?),
            1 => drop(must("compacting", store.compact_all(Time::MIN, |_, _| {}))?),
            _ => {}
        }
        Ok(())
    }

    /// Backs up, and again with the power cut at each operation.
    fn back_up(&mut self, store: &Store, disk: &SimulatedDisk) -> Outcome {
        let before = if self.had.is_some() { whole(disk)? } else { BTreeSet::new() };
        disk.take_trace();
        let mut volume = disk.volume();
        let report = must("backing up", store.backup(BACKUP, |_, _| {}))?;
        let (end, trace) = (report.end, disk.take_trace());
        let after = whole(disk)?;
        let dropped = before.difference(&after).count() as u64;
        equal("versions that retention took from the backup", &dropped, &report.trimmed_count)?;
        self.tally.add("versions taken from backups", dropped);
        for (index, operation) in trace.iter().enumerate() {
            if !matches!(operation, Operation::Mark(_) | Operation::DropCache(_)) {
                let outcome = self.point(&volume);
                outcome.map_err(|problem| {
                    format!("before operation {index} of {}: {problem}", trace.len())
                })?;
            }
            volume.apply(operation);
        }
        (0..2).try_for_each(|_| self.aged(&volume))?;
        self.had = Some(self.states.len() - 1);
        let node = volume.node(Path::new(WITNESS));
        let Some(Node::File(file)) = node else { return Err("it has a witness".to_string()) };
        self.witness = Some((Arc::from(volume.content(file).bytes()), end));
        self.point(&volume)?;
        (0..3).try_for_each(|_| self.as_of(&volume))?;
        (0..8).try_for_each(|_| self.rotten(&volume))?;
        (0..4).try_for_each(|_| self.unmarked(&volume))
    }

    /// Restores to a place: the objects that have no state there are those that it says.
    fn as_of(&mut self, volume: &Volume) -> Outcome {
        let index = self.rng.random_range(0..self.places.len());
        let (place, expected) = (self.places[index], &self.states[index]);
        let mut left = volume.clone();
        left.settle();
        let disk = SimulatedDisk::new(left);
        let restored = |what: Restoring| {
            options(&disk).restore(BACKUP, RESTORED, what.allow_empty(true), |_, _| {})
        };
        let is_end = index + 1 == self.places.len();
        let strict = match restored(Until::Position(place).into()) {
            Ok(report) => Some(report.pruned),
            Err(error) => {
                let ErrorKind::StatesPruned(pruned) = error.kind() else {
                    return Err(format!("restoring to {place}: {error}"));
                };
                hold("what is kept has its states", self.trims && !is_end)?;
                let all = restored(Restoring::from(Until::Position(place)).allow_pruned(true));
                let found = must("restoring what there is", all)?.pruned;
                hold("it counts what it restores", found == pruned.count && found > 0)?;
                None
            }
        };
        let found = must("opening", options(&disk).existing(true).open(RESTORED))?;
        let list = must("listing", found.list(None, usize::MAX))?;
        hold("it has what there was", list == compare::infos(expected))?;
        let report = must("checking", found.check(|_, _| {}))?;
        let pruned = tells_states(&found, &list, &report)?;
        hold(
            format!("{pruned} have no state, {strict:?} was told"),
            strict.is_none() == (pruned > 0),
        )?;
        self.tally.add("places restored to", 1);
        self.tally.add("states that are gone", pruned);
        disk.kill();
        Ok(())
    }

    /// Has a backup lose bytes or change some.
    fn rotten(&mut self, volume: &Volume) -> Outcome {
        let log = Path::new(BACKUP).join("log");
        let files: Vec<_> =
            volume.named_files().filter(|(path, _)| path.starts_with(&log)).collect();
        let (path, file) = files[self.rng.random_range(0..files.len())];
        let bytes = volume.content(file).bytes();
        let at = self.rng.random_range(0..bytes.len());
        let mut left = volume.clone();
        let what = match self.rng.random_range(0..3) {
            0 => {
                left.apply(&Operation::File(file, Change::SetLength(at as u64)));
                "cut"
            }
            1 => {
                left.apply(&Operation::Name(NameChange::Remove(path.to_path_buf())));
                "gone"
            }
            _ => {
                let flip = [bytes[at] ^ [0x01, 0x80, 0xff][self.rng.random_range(0..3)]];
                let change = Change::Write { offset: at as u64, bytes: Arc::from(&flip[..]) };
                left.apply(&Operation::File(file, change));
                "changed"
            }
        };
        left.settle();
        let problem = |problem| format!("{} {what} at {at}: {problem}", path.display());
        self.mended(&left).map_err(problem)?;
        self.tally.add("rotten files", 1);
        Ok(())
    }

    /// Has a backup lose its marker, or some bytes of it.
    fn unmarked(&mut self, volume: &Volume) -> Outcome {
        let Some(Node::File(file)) = volume.node(Path::new(MARKER)) else {
            return Err("it has a marker".to_string());
        };
        let bytes = volume.content(file).bytes();
        // The number of a newer format would be believed.
        let places = [0..12, 16..bytes.len()];
        let place = places[self.rng.random_range(0..2)].clone();
        let at = self.rng.random_range(place);
        let harm = match self.rng.random_range(0..4) {
            0 => Operation::File(file, Change::SetLength(0)),
            1 => Operation::File(file, Change::SetLength(at as u64)),
            2 => Operation::Name(NameChange::Remove(MARKER.into())),
            _ => {
                let flip = [bytes[at] ^ [0x01, 0x80, 0xff][self.rng.random_range(0..3)]];
                let change = Change::Write { offset: at as u64, bytes: Arc::from(&flip[..]) };
                Operation::File(file, change)
            }
        };
        let mut left = volume.clone();
        left.apply(&harm);
        left.settle();
        self.marked_again(&left).map_err(|problem| format!("{harm:?}: {problem}"))?;
        self.tally.add("markers that were lost or changed", 1);
        Ok(())
    }

    /// Requires that a backup without its marker is restored, and mended by the next backup, whose
    /// power is cut somewhere.
    fn marked_again(&mut self, left: &Volume) -> Outcome {
        let disk = SimulatedDisk::new(left.clone());
        match options(&disk).read_only(true).open(BACKUP) {
            Ok(_) => return Err("it is missed".to_string()),
            Err(error) => {
                let kind = error.kind();
                let is_told = matches!(
                    kind,
                    ErrorKind::Damaged { .. } | ErrorKind::MarkerLost { is_backup: true }
                );
                hold(format!("it is told as what it is: {error:?}"), is_told)?;
            }
        }
        let is_missed = self.restored_half(&disk)?;
        hold("a restore says that it is missed", is_missed != Some(false))?;
        disk.kill();
        let disk = SimulatedDisk::traced(left.clone());
        let store = must("opening the database", options(&disk).open(DATABASE))?;
        disk.take_trace();
        let mut again = disk.volume();
        let report = must("mending it", store.backup(BACKUP, |_, _| {}))?;
        let mended: Vec<_> = report.mended.iter().map(|mended| &*mended.file).collect();
        hold(format!("it says what it mended: {mended:?}"), mended == ["continuant.db"])?;
        let trace = disk.take_trace();
        let is_missed = self.restored_half(&disk)?;
        hold("it is there again", is_missed != Some(true))?;
        disk.kill();
        let count = self.rng.random_range(0..=trace.len());
        trace[..count].iter().for_each(|operation| again.apply(operation));
        let leaves = CUTS[self.rng.random_range(0..CUTS.len())];
        let disk = SimulatedDisk::new(again.cut(leaves, &mut self.rng));
        self.restored_half(&disk)
            .map_err(|problem| format!("cut behind {count} operations: {problem}"))?;
        let store = must("opening the database", options(&disk).open(DATABASE))?;
        must("backing up again", store.backup(BACKUP, |_, _| {}))?;
        let found = must("opening", options(&disk).read_only(true).open(BACKUP))?;
        self.compare(&found, None)?;
        disk.kill();
        Ok(())
    }

    /// Restores a backup; returns whether its marker was missed, unless there was nothing in it.
    fn restored_half(&self, disk: &SimulatedDisk) -> Result<Option<bool>, String> {
        match options(disk).restore(BACKUP, HALF, Until::End, |_, _| {}) {
            Err(error) if matches!(error.kind(), ErrorKind::NothingThen { .. }) => Ok(None),
            restored => must("restoring", restored).map(|report| Some(report.marker.is_some())),
        }
    }

    /// Gives a backup the witness of the one before it, and draws whether it ends with a pack: the
    /// segments behind it are gone.
    fn aged(&mut self, volume: &Volume) -> Outcome {
        let Some((witness, end)) = self.witness.clone() else { return Ok(()) };
        let mut left = volume.clone();
        let Some(Node::File(file)) = left.node(Path::new(WITNESS)) else {
            return Err("it has a witness".to_string());
        };
        left.apply(&Operation::File(file, Change::Write { offset: 0, bytes: witness }));
        let log = Path::new(BACKUP).join("log");
        let number = |name: &str| name.split(['.', ':']).next()?.parse::<u32>().ok();
        let first = number(&end.to_string());
        let names = left.list(&log);
        let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
        let packs = names.iter().filter(|name| name.ends_with(".pack") && number(name) >= first);
        let packs: Vec<&str> = packs.copied().collect();
        if !packs.is_empty() && self.rng.random_bool(0.7) {
            let last = number(packs[self.rng.random_range(0..packs.len())]);
            for name in names.iter().filter(|name| number(name) > last) {
                left.apply(&Operation::Name(NameChange::Remove(log.join(name))));
            }
            self.tally.add("backups that end with a pack", 1);
        }
        left.settle();
        self.beyond(&left, end).map_err(|problem| format!("with an old witness: {problem}"))
    }

    /// Requires that a backup behind an old witness, which covers it up to `end`, is read, not
    /// restored without a word, and continued.
    fn beyond(&self, left: &Volume, end: Position) -> Outcome {
        let disk = SimulatedDisk::new(left.clone());
        let found = must("opening", options(&disk).read_only(true).open(BACKUP))?;
        let list = must("listing", found.list(None, usize::MAX))?;
        let state = self.states.iter().rposition(|state| compare::infos(state) == list);
        hold(format!("state {state:?} is not older than {:?}", self.had), state >= self.had)?;
        tells_states(&found, &list, &must("checking", found.check(|_, _| {}))?)?;
        drop(found);
        match options(&disk).restore(BACKUP, HALF, Until::End, |_, _| {}) {
            Ok(report) => hold("all is vouched for", report.beyond == 0)?,
            Err(error) => match *error.kind() {
                ErrorKind::BackupBeyond { found, recorded } => {
                    hold(format!("{found} is behind {recorded}"), found > end && recorded == end)?;
                    let what = Restoring::from(Until::End).accept_end(Some(found));
                    let what = what.allow_empty(true);
                    must("accepting it", options(&disk).restore(BACKUP, HALF, what, |_, _| {}))?;
                    self.tally.add("backups beyond their witness", 1);
                }
                ErrorKind::NothingThen { .. } => {}
                _ => return Err(format!("restoring what there is: {error}")),
            },
        }
        let store = must("opening the database", options(&disk).open(DATABASE))?;
        self.go_on(&disk, &store)?;
        disk.kill();
        Ok(())
    }

    /// Backs up into a backup that was cut short: it has all then, and no disk is blamed.
    fn go_on(&self, disk: &SimulatedDisk, store: &Store) -> Outcome {
        let report = must("going on", store.backup(BACKUP, |_, _| {}))?;
        hold(format!("no disk is blamed: {:?}", report.mended), report.mended.is_empty())?;
        let has_objects = self.restored(disk)?;
        let all = [(BACKUP, true), (RESTORED, false)];
        for (path, read_only) in all.into_iter().take(1 + usize::from(has_objects)) {
            let opened = options(disk).existing(true).read_only(read_only).open(path);
            let found = must("opening", opened)?;
            self.compare(&found, None).map_err(|problem| format!("{path}: {problem}"))?;
        }
        Ok(())
    }

    fn mended(&self, left: &Volume) -> Outcome {
        let disk = SimulatedDisk::new(left.clone());
        match options(&disk).restore(BACKUP, RESTORED, Until::End, |_, _| {}) {
            Ok(report) => return Err(format!("it is not restored as whole: {report:?}")),
            Err(error) => {
                let is_told = matches!(
                    error.kind(),
                    ErrorKind::Damaged { .. }
                        | ErrorKind::BackupCut { .. }
                        | ErrorKind::NewerFormat { .. }
                );
                hold(format!("it is told as what it is: {error:?}"), is_told)?;
            }
        }
        hold("nothing is left of it", disk.volume().node(Path::new(RESTORED)).is_none())?;
        let database = must("opening the database", options(&disk).open(DATABASE))?;
        let report = match database.backup(BACKUP, |_, _| {}) {
            // The remaining files do not show that this is a backup of this database.
            Err(error) if matches!(error.kind(), ErrorKind::Damaged { .. }) => return Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::NewerFormat { .. }) => return Ok(()),
            backed_up => must("mending it", backed_up)?,
        };
        hold("it says what it mended", !report.mended.is_empty())?;
        if self.restored(&disk)? {
            let found = must("opening", options(&disk).existing(true).open(RESTORED))?;
            self.compare(&found, None)?;
        }
        disk.kill();
        Ok(())
    }

    /// Restores a whole backup; whether there was something in it.
    fn restored(&self, disk: &SimulatedDisk) -> Result<bool, String> {
        let is_empty = self.states.last().is_none_or(|model| model.objects.is_empty());
        match options(disk).restore(BACKUP, RESTORED, Until::End, |_, _| {}) {
            Err(error) if *error.kind() == (ErrorKind::NothingThen { first: None }) => {
                hold("there is nothing to restore", is_empty).map(|()| false)
            }
            restored => must("restoring", restored).map(|_| true),
        }
    }

    fn point(&mut self, volume: &Volume) -> Outcome {
        for leaves in CUTS {
            let left = volume.cut(leaves, &mut self.rng);
            let outcome = self.cut(&left);
            outcome.map_err(|problem| format!("leaving {leaves:?}: {problem}"))?;
            self.tally.add("crash points", 1);
        }
        Ok(())
    }

    fn cut(&mut self, left: &Volume) -> Outcome {
        self.read(left)?;
        if self.rng.random_bool(0.8) {
            return Ok(());
        }
        let disk = SimulatedDisk::traced(left.clone());
        let store = must("opening the database", options(&disk).open(DATABASE))?;
        disk.take_trace();
        let mut again = disk.volume();
        self.go_on(&disk, &store)?;
        let trace = disk.take_trace();
        disk.kill();
        let count = self.rng.random_range(0..=trace.len());
        trace[..count].iter().for_each(|operation| again.apply(operation));
        let leaves = CUTS[self.rng.random_range(0..CUTS.len())];
        let left = again.cut(leaves, &mut self.rng);
        let problem = |problem| format!("cut again behind {count} operations: {problem}");
        self.read(&left).map_err(problem)
    }

    /// Requires that a backup is the former one or the new one, however it is read; it may be
    /// absent if there was no former one.
    fn read(&mut self, left: &Volume) -> Outcome {
        let is_first = self.had.is_none();
        let is_none = |error: &Error| {
            let kind = error.kind();
            let is_none = matches!(kind, ErrorKind::NotADatabase | ErrorKind::Unfinished { .. });
            is_none && is_first
        };
        let disk = SimulatedDisk::new(left.clone());
        match options(&disk).read_only(true).open(BACKUP) {
            Err(error) => hold(format!("it opens: {error}"), is_none(&error))?,
            Ok(found) => self.compare(&found, self.had)?,
        }
        disk.kill();
        if is_first {
            let disk = SimulatedDisk::new(left.clone());
            let what = Restoring::from(Until::End).allow_empty(true);
            if options(&disk).restore(DATABASE, BACKUP, what, |_, _| {}).is_ok() {
                let witness = [WITNESS.to_string(), format!("{WITNESS}.tmp")];
                let is_left = witness.iter().any(|it| disk.volume().node(Path::new(it)).is_some());
                hold("no unfinished backup is restored into", !is_left)?;
                drop(must("writing to it", options(&disk).existing(true).open(BACKUP))?);
                self.tally.add("restores where a backup was begun", 1);
            }
            disk.kill();
        }
        if self.rng.random_bool(0.7) {
            return Ok(());
        }
        let disk = SimulatedDisk::new(left.clone());
        match options(&disk).restore(BACKUP, HALF, Until::End, |_, _| {}) {
            Ok(report) => hold(format!("{report:?}"), (report.beyond, report.pruned) == (0, 0)),
            Err(error) => {
                let is_empty = matches!(error.kind(), ErrorKind::NothingThen { .. });
                hold(format!("it is restored: {error}"), is_none(&error) || is_empty)
            }
        }
    }

    /// Requires that a store has the state of the database, or that of a backup before, and is
    /// sound.
    fn compare(&self, found: &Store, before: Option<usize>) -> Outcome {
        let list = must("listing", found.list(None, usize::MAX))?;
        let states = [Some(self.states.len() - 1), before];
        let mut states = states.into_iter().flatten();
        let state = states.find(|&state| compare::infos(&self.states[state]) == list);
        let state = state.ok_or_else(|| format!("it has the last state, or {before:?}"))?;
        let report = must("checking", found.check(|_, _| {}))?;
        hold(format!("it is sound: {:?}", report.damage), report.is_sound())?;
        match self.trims {
            true => self.states[state].leaves.compare(found),
            false => compare::heads(found, &self.states[state]),
        }
    }
}

/// Requires that a check finds the objects that have no state, and nothing else; returns their
/// number.
fn tells_states(found: &Store, list: &[ObjectInfo], report: &Report) -> Result<u64, String> {
    let mut pruned = 0;
    for info in list {
        match found.head(info.id) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => pruned += 1,
            Err(error) => return Err(format!("reading {}: {error}", info.id)),
        }
    }
    let kinds = report.damage.iter().map(|damage| damage.error().kind());
    let told = kinds.filter(|kind| matches!(kind, ErrorKind::NoState { .. })).count() as u64;
    let is_told = (told, report.damage_count) == (pruned, pruned);
    hold(format!("a check tells {pruned}: {:?}", report.damage), is_told).map(|()| pruned)
}
