//! Logs whose bytes were changed or cut: opening or checking the database must report it, unless
//! the change is where the log could have been torn; then everything before it must be there, and
//! nothing of it or behind.
//!
//! Reads return only appended content, whatever is reported. A repair reports the losses of content
//! that the index knew, changes nothing before the loss is accepted, and puts it on record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use continuant::Time;
use object::header::HEADER_BYTES;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{AcceptedLoss, Compared, ErrorKind, Lost, Store};

use super::storage_model::model::Model;
use super::storage_model::{Draft, append, compare, copy, hold_back, patient, push};
use crate::frames::{self, Frame};
use crate::generate::lineage::{Author, Ingredients, encoded};
use crate::generate::{bytes, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::threads::watch_threads;

/// The kind of a version's record.
const VERSION: u8 = 4;
/// The kind of the record that an object gets a name or loses it.
const NAME: u8 = 9;
/// Changes of one database in a run.
const DAMAGES: usize = 4;

/// A database, and its content after each frame.
struct Database {
    ingredients: Ingredients,
    authors: Vec<Author>,
    /// The model before the first frame, after it, after the second and so on.
    models: Vec<Model>,
    /// Frames that the index covers.
    covered: usize,
}

pub(crate) fn run(seed: u64) -> Outcome {
    watch_threads();
    let mut rng = source(seed);
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let (living, image) = (directory.path().join("living"), directory.path().join("image"));
    let clean = rng.random_bool(0.3);
    let mut database = Database::make(&mut rng, &living, &image, clean)?;
    if clean {
        database.covered = database.models.len() - 1;
    }
    let segments = frames::read(&image)?;
    let found = frames::find(&segments);
    equal("frames in the log", &(database.models.len() - 1), &found.len())?;
    for round in 0..DAMAGES {
        let path = directory.path().join(round.to_string());
        copy(&image, &path)?;
        let (what, damaged) = damage(&mut rng, &segments, &found, clean);
        write(&path, &segments, &damaged)?;
        let outcome = database.check(&mut rng, &path, &found, &segments, &damaged);
        outcome.map_err(|problem| format!("{what}, clean {clean}: {problem}"))?;
    }
    let path = directory.path().join("forged");
    copy(&image, &path)?;
    of_another_format(&mut rng, &path, &segments)?;
    with_unknown_flags(&mut rng, &path, &segments, &found)?;
    let path = directory.path().join("renamed");
    copy(&image, &path)?;
    with_another_naming(&mut rng, &path, &segments, &found)?;
    let path = directory.path().join("rotting");
    copy(&image, &path)?;
    rot_meanwhile(&mut rng, &path, &segments, &found)
}

/// Requires that a segment of another format is refused by name, and one of a format that there is
/// not as damage, even where its check holds. Leaves the log as it was.
fn of_another_format(rng: &mut StdRng, path: &Path, segments: &[Vec<u8>]) -> Outcome {
    let segment = rng.random_range(0..segments.len());
    let format: u32 = [0, 1, 3, rng.random_range(3..u32::MAX)][rng.random_range(0..4)];
    let mut bytes = segments[segment].clone();
    bytes[8..12].copy_from_slice(&format.to_le_bytes());
    let check = blake3::derive_key("continuant 2 log segment", &bytes[..64]);
    bytes[64..frames::SEGMENT_HEADER_BYTES].copy_from_slice(&check);
    let file = frames::path(path, segment);
    must("writing a segment", std::fs::write(&file, &bytes))?;
    let found = problem(path)?;
    let is_named = match (&found, format) {
        (Some(ErrorKind::Damaged { .. }), 0) => true,
        (Some(ErrorKind::OldFormat { found }), 1) => *found == 1,
        (Some(ErrorKind::NewerFormat { found, .. }), 3..) => *found == format,
        _ => false,
    };
    hold(format!("a segment of format {format} is refused by name: {found:?}"), is_named)?;
    must("writing a segment", std::fs::write(&file, &segments[segment]))
}

/// Requires that a flag that no version's record has is refused, even where the frame's checks
/// hold.
fn with_unknown_flags(
    rng: &mut StdRng,
    path: &Path,
    segments: &[Vec<u8>],
    frames: &[Frame],
) -> Outcome {
    let frame = frames.last().ok_or("there is a frame")?;
    let flag = 0x40 << rng.random_range(0..2);
    let found = forged(path, segments, frame, VERSION, |version| version[HEADER_BYTES] |= flag)?;
    hold("an unknown flag of a version's record is found", found != Some(None))
}

/// Requires that a record of a name is found that names an object that is not there, or frees what
/// nobody has.
fn with_another_naming(
    rng: &mut StdRng,
    path: &Path,
    segments: &[Vec<u8>],
    frames: &[Frame],
) -> Outcome {
    let frame = &frames[rng.random_range(0..frames.len())];
    // The record begins with the object, and whether it has the name from here on.
    let (what, at) = [("another object", 0), ("no holder", 32)][rng.random_range(0..2)];
    let found = forged(path, segments, frame, NAME, |naming| naming[at] ^= 1)?;
    hold(format!("a record of a name that says {what} is found"), found != Some(None))
}

/// Changes the first record of a kind in a frame, in a log without an index, and returns the first
/// problem that is found then; none if the frame has no such record.
fn forged(
    path: &Path,
    segments: &[Vec<u8>],
    frame: &Frame,
    kind: u8,
    change: impl FnOnce(&mut [u8]),
) -> Result<Option<Option<ErrorKind>>, String> {
    let mut bytes = segments[frame.segment].clone();
    let id: [u8; 16] = bytes[16..32].try_into().expect("sixteen bytes");
    let forged = &mut bytes[frame.offset..frame.offset + frame.length];
    let (head, body) = forged.split_at_mut(frames::FRAME_HEADER_BYTES);
    let Some((_, at)) = frames::records(body).find(|record| record.0 == kind) else {
        return Ok(None);
    };
    change(&mut body[at..]);
    let covered = [&head[..4], &head[8..48], blake3::hash(body).as_bytes()].concat();
    let key = blake3::derive_key("continuant 2 log frame", &id);
    head[48..].copy_from_slice(blake3::keyed_hash(&key, &covered).as_bytes());
    must("writing a segment", std::fs::write(frames::path(path, frame.segment), &bytes))?;
    // The log is read without it.
    drop(std::fs::remove_file(path.join("index.redb")));
    problem(path).map(Some)
}

/// The first problem that opening and checking a database finds.
fn problem(path: &Path) -> Result<Option<ErrorKind>, String> {
    let store = match patient().existing(true).open(path) {
        Err(error) => return Ok(Some(error.kind().clone())),
        Ok(store) => store,
    };
    let report = must("checking", store.check(|_, _| {}))?;
    Ok(report.damage.first().map(|damage| damage.error().kind().clone()))
}

/// Changes a byte of a frame once a check has read it, which reads the log again for the next part:
/// the check reports that.
fn rot_meanwhile(rng: &mut StdRng, path: &Path, segments: &[Vec<u8>], frames: &[Frame]) -> Outcome {
    let store = must("opening", patient().existing(true).check_bytes_max(1000).open(path))?;
    let frame = frames[rng.random_range(0..frames.len())];
    let mut bytes = segments[frame.segment].clone();
    bytes[frame.offset + rng.random_range(0..frame.length)] ^= 1 << rng.random_range(0..8);
    let (mut all_once, mut rotted) = (None, None);
    let report = store.check(|done, all| {
        if done >= *all_once.get_or_insert(all) {
            let file = frames::path(path, frame.segment);
            rotted.get_or_insert_with(|| must("writing a segment", std::fs::write(file, &bytes)));
        }
    });
    rotted.ok_or("a check tells when it has read everything")??;
    let report = must("checking", report)?;
    let is_read_again = report.pass_count > 1;
    hold(format!("what rots meanwhile is found: {report:?}"), !is_read_again || !report.is_sound())
}

impl Database {
    /// Makes a database in `living` and leaves its files in `image`: closed, or as a crash does.
    fn make(
        rng: &mut StdRng,
        living: &Path,
        image: &Path,
        clean: bool,
    ) -> Result<Database, String> {
        let store = must("opening", patient().open(living))?;
        let ingredients = Ingredients::new(rng);
        let (authors, models) = (Vec::new(), vec![Model::default()]);
        let mut database = Database { ingredients, authors, models, covered: 0 };
        for _ in 0..rng.random_range(2..16) {
            let draft = database.draft(rng);
            if rng.random_bool(0.3) {
                // Frames of one group, so that more than one may be torn.
                let held = hold_back(&store, &database.ingredients, &draft)?;
                database.models.push(database.after(&draft));
                for _ in 0..rng.random_range(1..4) {
                    let draft = database.draft(rng);
                    let pushed = push(&store, &database.ingredients, &draft, |_| {});
                    must("appending", pushed)?;
                    database.models.push(database.after(&draft));
                }
                drop(held);
                must("waiting for all", store.sync())?;
            } else {
                must("appending", append(&store, &database.ingredients, &draft))?;
                database.models.push(database.after(&draft));
            }
            if rng.random_bool(0.1) {
                must("a checkpoint", store.checkpoint())?;
                database.covered = database.models.len() - 1;
            }
        }
        if clean {
            must("closing", store.close())?;
        }
        copy(living, image)?;
        Ok(database)
    }

    fn draft(&mut self, rng: &mut StdRng) -> Draft {
        let mut draft = Draft::default();
        if self.authors.len() < 3 && (self.authors.is_empty() || rng.random_bool(0.2)) {
            let (author, made) = Author::begin(rng, &self.ingredients);
            draft.names.push((format!("object {}", self.authors.len()), author.head.id));
            self.authors.push(author);
            draft.made.push(made);
        }
        for _ in 0..rng.random_range(1..3) {
            let index = rng.random_range(0..self.authors.len());
            let author = &mut self.authors[index];
            draft.made.push(match rng.random_bool(0.2) {
                true => author.refusal(rng),
                false => author.version(rng),
            });
        }
        draft
    }

    fn after(&self, draft: &Draft) -> Model {
        let mut model = self.models.last().expect("there is a first model").clone();
        model.apply(draft);
        model
    }

    fn check(
        &self,
        rng: &mut StdRng,
        path: &Path,
        frames: &[Frame],
        before: &[Vec<u8>],
        after: &[Option<Vec<u8>>],
    ) -> Outcome {
        let broken = first_broken(frames, before, after);
        let must_report = broken.is_some_and(|broken| {
            // Behind the damage there is a whole frame that was written when it was durable.
            let later = frames[broken..].iter().filter(|frame| is_whole(frame, before, after));
            let shown = later.into_iter().any(|it| it.group > frames[broken].position());
            shown || broken < self.covered
        });
        if rng.random_bool(0.5) {
            let copied = path.with_extension("repaired");
            copy(path, &copied)?;
            self.repaired(rng, &copied, broken).map_err(|problem| format!("repair: {problem}"))?;
        }
        let store = match patient().existing(true).open(path) {
            Ok(store) => store,
            Err(error) => {
                let harmless = broken.is_none() && headers_are_whole(before, after);
                return hold(format!("a sound log opens: {error}"), !harmless);
            }
        };
        let last = self.models.last().expect("there is a first model");
        serves_no_other(&store, last)?;
        let report = must("checking", store.check(|_, _| {}))?;
        drop(store);
        let in_parts = patient().existing(true).check_bytes_max(rng.random_range(1..6000));
        let store = must("opening again", in_parts.open(path))?;
        let parts = must("checking in parts", store.check(|_, _| {}))?;
        equal("what is found in parts", &compare::findings(&report), &compare::findings(&parts))?;
        if !report.is_sound() {
            let harmless = broken.is_none() && headers_are_whole(before, after);
            return hold(format!("nothing is found: {:?}", report.damage), !harmless);
        }
        let of = broken.map(|broken| &frames[broken..]);
        let covered = self.covered;
        hold(format!("damage of {of:?} is reported, the index covering {covered}"), !must_report)?;
        let kept = broken.unwrap_or(frames.len());
        equal("frames that are left", &(kept as u64), &report.frame_count)?;
        has(&store, &self.models[kept], rng)?;
        goes_on(store, path, rng)
    }
}

impl Database {
    /// Repairs a database that lost the frames from `broken` on, or has damage before that.
    fn repaired(&self, rng: &mut StdRng, path: &Path, broken: Option<usize>) -> Outcome {
        let kept = broken.filter(|&broken| broken < self.covered);
        let before = files(path)?;
        let lost = match patient().repair(path, None, |_, _| {}) {
            Ok(repaired) => {
                hold(format!("nothing is gone: {repaired:?}"), kept.is_none())?;
                let is_compared = matches!(repaired.compared, Compared::Whole(_));
                return equal("that it is compared", &(self.covered > 0), &is_compared);
            }
            Err(error) => match error.kind() {
                ErrorKind::Lost(lost) => lost.clone(),
                // There is more behind it, or no log at all: nothing can be cut off.
                ErrorKind::Damaged { .. } | ErrorKind::NewerFormat { .. } => {
                    return hold("nothing was changed", files(path)? == before);
                }
                _ => return Err(format!("it is told as what it is: {error:?}")),
            },
        };
        hold("nothing was changed", files(path)? == before)?;
        let kept = kept.ok_or_else(|| format!("there is a loss: {lost:?}"))?;
        self.compare(&lost, kept)?;
        let accepted = AcceptedLoss { token: lost.token, time: Time::from_millis(rng.random()) };
        must("accepting it", patient().repair(path, Some(accepted), |_, _| {}))?;
        let store = must("opening", patient().existing(true).open(path))?;
        let mut model = self.models[kept].clone();
        let segments = frames::read(path)?;
        let last = *frames::find(&segments).last().ok_or("the loss is in a frame")?;
        let body = &segments[last.segment][last.offset..][frames::FRAME_HEADER_BYTES..last.length];
        let (_, at) = frames::records(body).next().ok_or("a frame has a record")?;
        model.leaves.lose(&body[at..]);
        has(&store, &model, rng)?;
        let losses: Vec<_> = store.losses().iter().map(|it| (it.loss, it.time)).collect();
        equal("the losses on record", &vec![(lost.loss, accepted.time)], &losses)?;
        goes_on(store, path, rng)
    }

    /// Requires that a loss is exactly the content behind the remaining frames.
    fn compare(&self, lost: &Lost, kept: usize) -> Outcome {
        let (mut versions, mut refusals, mut objects, mut gone) = (0, 0, 0, 0);
        for (id, was) in &self.models[self.covered].objects {
            let is = self.models[kept].objects.get(id);
            let left = is.map_or((0, 0), |is| (is.versions.len(), is.refusals().count()));
            let less = (was.versions.len() - left.0, was.refusals().count() - left.1);
            (versions, refusals) = (versions + less.0 as u64, refusals + less.1 as u64);
            objects += u64::from(less != (0, 0));
            gone += u64::from(is.is_none());
            let told = lost.objects.iter().any(|object| object.id == *id);
            equal("that an object is named", &(less != (0, 0)), &told)?;
        }
        let loss = &lost.loss;
        let found = (loss.version_count, loss.refusal_count, loss.object_count, loss.gone_count);
        equal("what is lost", &(versions, refusals, objects, gone), &found)?;
        hold("all of it is counted", loss.is_counted)
    }
}

/// The files of a log.
fn files(path: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    let log = path.join("log");
    if log.exists() {
        for entry in must("listing the log", std::fs::read_dir(log))? {
            let path = must("listing the log", entry)?.path();
            files.insert(path.clone(), must("reading the log", std::fs::read(path))?);
        }
    }
    Ok(files)
}

/// Finds the first frame whose bytes, or whose segment's header, have changed.
fn first_broken(frames: &[Frame], before: &[Vec<u8>], after: &[Option<Vec<u8>>]) -> Option<usize> {
    frames.iter().position(|frame| {
        let header = 0..frames::SEGMENT_HEADER_BYTES;
        let now = after[frame.segment].as_ref();
        let same = now.and_then(|now| now.get(header.clone())) == before[frame.segment].get(header);
        !same || !is_whole(frame, before, after)
    })
}

fn is_whole(frame: &Frame, before: &[Vec<u8>], after: &[Option<Vec<u8>>]) -> bool {
    let range = frame.offset..frame.offset + frame.length;
    let now = after[frame.segment].as_ref().and_then(|now| now.get(range.clone()));
    now == before[frame.segment].get(range)
}

fn headers_are_whole(before: &[Vec<u8>], after: &[Option<Vec<u8>>]) -> bool {
    before.iter().zip(after).all(|(before, after)| {
        let now = after.as_ref().and_then(|now| now.get(..frames::SEGMENT_HEADER_BYTES));
        now == before.get(..frames::SEGMENT_HEADER_BYTES)
    })
}

/// Requires that a version reads as it was appended, or fails.
fn serves_no_other(store: &Store, model: &Model) -> Outcome {
    for (id, object) in &model.objects {
        for version in &object.versions {
            let Ok(Some(found)) = store.version(*id, version.header.seq) else { continue };
            equal("a version of a damaged log", &version.header, found.commit.header())?;
            hold("its bytes are those appended", encoded(&found.complete()) == *version.bytes)?;
        }
    }
    Ok(())
}

/// Requires that the store has each object of the model up to the model's version, and no more.
fn has(store: &Store, model: &Model, rng: &mut StdRng) -> Outcome {
    compare::store(store, model, rng)
}

/// Requires that the rest can be appended to and opened again.
fn goes_on(store: Store, path: &Path, rng: &mut StdRng) -> Outcome {
    let ingredients = Ingredients::new(rng);
    let (_, made) = Author::begin(rng, &ingredients);
    let draft = Draft { made: vec![made], names: vec![] };
    must("appending behind a torn end", append(&store, &ingredients, &draft))?;
    if rng.random_bool(0.5) {
        must("closing", store.close())?;
    }
    drop(store);
    let store = must("opening again", patient().existing(true).open(path))?;
    let report = must("checking", store.check(|_, _| {}))?;
    hold(format!("it is sound again: {:?}", report.damage), report.is_sound())
}

/// Damages the segments in some way; returns the way, and the segments, none for removed ones.
fn damage(
    rng: &mut StdRng,
    segments: &[Vec<u8>],
    frames: &[Frame],
    clean: bool,
) -> (String, Vec<Option<Vec<u8>>>) {
    let mut after: Vec<Option<Vec<u8>>> = segments.iter().cloned().map(Some).collect();
    let index = rng.random_range(0..frames.len());
    // The end is where the difficult decisions are.
    let index =
        if rng.random_bool(0.5) { index } else { frames.len() - 1 - index % 3.min(index + 1) };
    let frame = frames[index];
    let at = frame.offset + rng.random_range(0..frame.length);
    if rng.random_bool(0.2) {
        let what = lose(rng, &mut after, frame);
        return (format!("{what} from frame {index} of {}", frames.len()), after);
    }
    let bytes = after[frame.segment].as_mut().expect("every segment is there");
    let what = match rng.random_range(0..8) {
        0 | 1 => {
            bytes[at] ^= 1 << rng.random_range(0..8);
            "a bit"
        }
        2 => {
            let at = frame.offset + rng.random_range(0..frames::FRAME_HEADER_BYTES);
            bytes[at] = rng.random();
            "a byte of a frame's header"
        }
        3 => {
            let end = (at + rng.random_range(1..5000)).min(bytes.len());
            bytes[at..end].fill(0);
            "zeros"
        }
        4 => {
            let end = if rng.random_bool(0.2) { rng.random_range(0..bytes.len()) } else { at };
            bytes.truncate(end);
            "a cut"
        }
        5 => {
            let from = frames[rng.random_range(0..frames.len())];
            let stale = segments[from.segment][from.offset..from.offset + from.length].to_vec();
            let end = (frame.offset + stale.len()).min(bytes.len());
            bytes[frame.offset..end].copy_from_slice(&stale[..end - frame.offset]);
            "a stale frame"
        }
        6 if !clean => {
            let last = frames.last().expect("a log has frames");
            let end = last.offset + last.length;
            let bytes = after[last.segment].as_mut().expect("every segment is there");
            let garbage = rng.random_range(0..300);
            let garbage = bytes::random(rng, garbage.min(bytes.len() - end));
            bytes[end..end + garbage.len()].copy_from_slice(&garbage);
            "bytes behind the end"
        }
        _ if rng.random_bool(0.3) => {
            after[frame.segment] = None;
            "a segment that is gone"
        }
        _ => {
            let at = rng.random_range(0..frames::SEGMENT_HEADER_BYTES);
            bytes[at] ^= 1 << rng.random_range(0..8);
            "a segment's header"
        }
    };
    (format!("{what} at frame {index} of {}", frames.len()), after)
}

/// Has the log lose all from a frame on, or from its start.
fn lose(rng: &mut StdRng, after: &mut [Option<Vec<u8>>], frame: Frame) -> &'static str {
    let (what, segment, offset) = match rng.random_range(0..4) {
        0 => ("no log", 0, None),
        1 => ("its header alone", 0, Some(frames::SEGMENT_HEADER_BYTES)),
        _ => ("an older copy", frame.segment, Some(frame.offset)),
    };
    for (index, bytes) in after.iter_mut().enumerate().skip(segment) {
        match offset.filter(|_| index == segment) {
            Some(offset) => bytes.iter_mut().for_each(|bytes| bytes.truncate(offset)),
            None => *bytes = None,
        }
    }
    what
}

fn write(path: &Path, before: &[Vec<u8>], after: &[Option<Vec<u8>>]) -> Outcome {
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        let path = frames::path(path, index);
        match after {
            None => must("removing a segment", std::fs::remove_file(path))?,
            Some(after) if after != before => {
                must("writing a segment", std::fs::write(path, after))?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}
