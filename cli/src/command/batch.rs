//! `batch`: calls of any objects, signed together.
//!
//! A batch has a base, and each of its lines a nonce of its own: the base plus the number of the
//! line. So the record shows which lines were made, however the batch was stopped; resuming the
//! batch reads that record and needs no other file.
//!
//! A resumed batch must have something on record, or it is the wrong batch: with a wrong base or
//! key every line would be made again.
//!
//! Invariant: a line is posted only while no version has its nonce and none has a later one.

mod lines;
mod record;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use continuant::{Call, Clock, Database, ObjectId, SigningKey, Time, Value};
use serde_json::{Value as Json, json};

use self::lines::{Line, Lines};
use self::record::{Before, Records};
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::{aside, keyfile, moment, number, receipt, stop, typed};

/// Make many calls under few signatures
///
/// Each key signs once for a thousand calls, and the lineage of one object is enough to verify that
/// object's calls. The calls are made in their order, a thousand at a time; a refused one does not
/// stop the others.
///
/// The batch's base is printed first. If the batch is stopped, for any reason, give the same lines
/// with `--resume BASE`: calls on record are looked up and printed again, and only the others are
/// made. If nothing of the batch is on record, nothing is made unless --anew is given. A file is
/// read to its end before the first call is made, so that a bad line in it prevents all calls;
/// stdin is not.
#[derive(Debug, Args)]
pub(crate) struct Batch {
    /// A file of calls, `-` for stdin: on each line a JSON array of the object, the method and its
    /// arguments, such as ["visits", "increment", 2]
    calls: PathBuf,

    /// Sign with this key; give it again for each further signer
    #[arg(long, value_name = "KEYFILE", required = true)]
    sign: Vec<PathBuf>,

    /// When the signatures expire, at most seven days from now [default: in five minutes, or in
    /// seven days where many keys sign]
    #[arg(long, value_name = "TIME", value_parser = moment::parse_future)]
    expires: Option<Time>,

    /// The batch's base: line 1 is signed with the nonce base + 1, line 2 with base + 2. It must be
    /// above all nonces that the keys used on the objects before [default: microseconds since 1970]
    #[arg(long, value_name = "NUMBER", value_parser = number::parse::<u64>)]
    base: Option<u64>,

    /// Continue the batch that has this base, of which some call is on record
    #[arg(long, value_name = "BASE", value_parser = number::parse::<u64>, conflicts_with = "base")]
    resume: Option<u64>,

    /// Continue although no call of the batch is on record, so that all of its calls are made
    #[arg(long, requires = "resume")]
    anew: bool,
}

/// A line as the call that it asks for.
struct Asked {
    number: u64,
    nonce: u64,
    object: ObjectId,
    method: String,
    arguments: Vec<Value>,
}

/// The outcome of the lines so far.
struct Progress {
    base: u64,
    /// The number of the last line, where the lines could be read before.
    count: Option<u64>,
    /// The last line that was printed.
    line: u64,
    /// Lines that were on record before.
    before: u64,
    made: u64,
    /// The failure that the command ends with.
    last: Result<()>,
}

impl Batch {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let keys = keyfile::read_all(&self.sign)?;
        let lines = Lines::open(&self.calls)?;
        let given = self.resume.or(self.base);
        let base = given.unwrap_or_else(Clock::microseconds);
        target.with(|db| {
            let mut records = Records::new(&keys, base, self.resume.is_some());
            let batched = self.validate(db)?;
            if let Some(Batched { count, objects }) = &batched {
                if *count == 0 {
                    return Err(nothing(&self.calls));
                }
                self.require_begun(db, &mut records, objects, *count)?;
            }
            say_base(base, printer)?;
            let (line, before, made, last) = (0, 0, 0, Ok(()));
            let count = batched.map(|batched| batched.count);
            // A pipe may have to be waited for: then a signal ends the process at once.
            let _orderly = count.is_some().then(stop::orderly);
            let mut progress = Progress { base, count, line, before, made, last };
            let done = self.make(db, (&keys, &mut records), lines, &mut progress, printer);
            done.map_err(|failure| progress.stopped(failure))?;
            if progress.line == 0 {
                return Err(nothing(&self.calls));
            }
            if self.resume.is_some() {
                let Progress { before, made, .. } = progress;
                let lines = format!("{before} lines were on record already");
                let message = format!("{lines}, {made} were called now");
                aside::note(printer, "resumed", &message);
            }
            progress.last
        })
    }

    /// Reads the calls to their end, if they can be read again, and says which there are.
    fn validate(&self, db: &Database) -> Result<Option<Batched>> {
        if !self.calls.is_file() {
            return Ok(None);
        }
        let (mut lines, mut batched) = (Lines::open(&self.calls)?, Batched::default());
        while let Some(line) = lines.next()? {
            batched.take(&read(db, &line, 0)?);
        }
        Ok(Some(batched))
    }

    /// Checks that a resumed batch has something on record, at one of the objects that its lines up
    /// to the last name, unless all of it is to be made.
    fn require_begun(
        &self,
        db: &Database,
        records: &mut Records,
        objects: &BTreeSet<ObjectId>,
        last: u64,
    ) -> Result<()> {
        match self.anew || self.resume.is_none() || records.is_begun(db, objects, last)? {
            true => Ok(()),
            false => Err(records.missing(objects.len())),
        }
    }

    /// Makes the calls, a group at a time.
    fn make(
        &self,
        db: &Database,
        (keys, records): (&[SigningKey], &mut Records),
        mut lines: Lines,
        progress: &mut Progress,
        printer: &mut Printer,
    ) -> Result<()> {
        loop {
            let is_over = lines.is_over() || progress.count == Some(progress.line);
            if let Some(signal) = stop::asked().filter(|_| !is_over) {
                let may = if progress.count.is_some() { "are" } else { "may be" };
                return Err(Failure::stopped(signal, format!("some lines {may} left")));
            }
            let mut group = Vec::new();
            // Makes the lines before a bad line, and reports that line afterwards.
            let mut bad = Ok(());
            for line in lines.group() {
                match line.and_then(|line| read(db, &line, progress.base)) {
                    Ok(asked) => group.push(asked),
                    Err(failure) => {
                        bad = Err(failure);
                        break;
                    }
                }
            }
            if !group.is_empty() {
                // A pipe is not read to its end beforehand: its first lines were made first.
                if progress.line == 0 {
                    let mut batched = Batched::default();
                    group.iter().for_each(|asked| batched.take(asked));
                    self.require_begun(db, records, &batched.objects, batched.count)?;
                }
                // A group that began is made, and printed, to its end.
                let _orderly = stop::orderly();
                self.make_group(db, keys, group, records, progress, printer)?;
                printer.flush()?;
            } else if bad.is_ok() {
                return Ok(());
            }
            bad?;
        }
    }

    /// Makes the calls of a group that are not on record, and prints the outcome of all.
    fn make_group(
        &self,
        db: &Database,
        keys: &[SigningKey],
        group: Vec<Asked>,
        records: &mut Records,
        progress: &mut Progress,
        printer: &mut Printer,
    ) -> Result<()> {
        let before = group.iter().map(|asked| records.before(db, asked));
        let before = before.collect::<Result<Vec<_>>>()?;
        let is_new = |found: &Before| matches!(found, Before::Nothing);
        let new = group.iter().zip(&before).filter(|(_, found)| is_new(found));
        let calls = new.map(|(asked, _)| self.call(db, asked)).collect::<Vec<_>>();
        progress.made += calls.len() as u64;
        let mut answers = match calls.is_empty() {
            true => Vec::new(),
            false => sign(db, calls, keys).wait()?,
        }
        .into_iter();
        for (asked, found) in group.iter().zip(before) {
            let failed = match found {
                Before::Nothing => {
                    let answer = answers.next().expect("each call has an answer");
                    let answer = answer.map_err(Failure::from);
                    print(asked, answer.map(CallOutcome::Receipt), printer)?
                }
                Before::Version(version) => {
                    progress.before += 1;
                    print(asked, Ok(CallOutcome::Before(version)), printer)?
                }
                Before::Refused(failure) => {
                    progress.before += 1;
                    print(asked, Err(failure), printer)?
                }
                Before::Passed(failure) => print(asked, Err(failure), printer)?,
            };
            if let Some(failure) = failed {
                progress.last = Err(failure);
            }
            assert!(asked.number > progress.line, "lines are called in their order");
            progress.line = asked.number;
        }
        assert!(answers.next().is_none(), "each answer is that of a call");
        Ok(())
    }

    fn call<'a>(&self, db: &'a Database, asked: &Asked) -> Call<'a> {
        let call = db.call(asked.object, &asked.method, asked.arguments.clone());
        let call = call.nonce(asked.nonce);
        match self.expires {
            Some(expires) => call.expires(expires),
            None => call,
        }
    }
}

/// The number of lines, and the objects that they name.
#[derive(Default)]
struct Batched {
    /// The number of the last line, 0 when there is none.
    count: u64,
    objects: BTreeSet<ObjectId>,
}

impl Batched {
    fn take(&mut self, asked: &Asked) {
        self.count = asked.number;
        self.objects.insert(asked.object);
    }
}

impl Progress {
    /// Adds to a failure that stops the batch how to continue it.
    fn stopped(&self, failure: Failure) -> Failure {
        if failure.kind() == record::NO_BATCH {
            return failure;
        }
        let way = format!("--resume {} continues the batch", self.base);
        match failure.is_closed_pipe() {
            true => {
                let message = "the output has no reader any more, and some of the calls that were \
                               not printed may have been made";
                Failure::new("stopped", format!("{message}; {way}"))
            }
            false => failure.advised(way),
        }
    }
}

/// Says the base before anything is made: as a document for programs, as a note for people.
fn say_base(base: u64, printer: &mut Printer) -> Result<()> {
    match printer.is_json() {
        true => {
            printer.document(&json!({ "batch": base }))?;
            printer.flush()
        }
        false => {
            let message = format!("if the batch is stopped, --resume {base} continues it");
            aside::note(printer, "batch", &message);
            Ok(())
        }
    }
}

fn nothing(path: &std::path::Path) -> Failure {
    Failure::usage(format!("{} has no calls: nothing was done", path.display()))
}

fn sign<'a>(
    db: &'a Database,
    calls: Vec<Call<'a>>,
    keys: &'a [SigningKey],
) -> continuant::Batch<'a> {
    keys.iter().fold(db.batch(calls), |batch, key| batch.signed(key))
}

/// The call that a line asks for.
fn read(db: &Database, line: &Line, base: u64) -> Result<Asked> {
    let about = |failure: Failure| failure.about(format!("line {}", line.number));
    let expected = || Failure::usage("expected a JSON array of an object, a method, arguments");
    let parts = serde_json::from_str::<Vec<Json>>(&line.text).map_err(|_| about(expected()))?;
    let texts = typed::items(&line.text).ok_or_else(|| about(expected()))?;
    let [Json::String(object), Json::String(method), ..] = &parts[..] else {
        return Err(about(expected()));
    };
    let too_high = "the batch's base is so high that no nonce is left for the line";
    let nonce = base.checked_add(line.number);
    let nonce = nonce.ok_or_else(|| about(Failure::usage(too_high)))?;
    let arguments = || -> Result<(ObjectId, Vec<Value>)> {
        let id = target::find(db, object)?;
        let snapshot = db.snapshot(id)?;
        let params = &snapshot.definition().schema.require_method(method)?.params;
        // As they are typed: a number may have more digits than can be read.
        let words: Vec<String> = texts.iter().skip(2).map(|text| text.to_string()).collect();
        Ok((id, typed::arguments(method, &words, params)?))
    };
    let (object, arguments) = arguments().map_err(about)?;
    Ok(Asked { number: line.number, nonce, object, method: method.clone(), arguments })
}

/// The outcome of an admitted call.
#[expect(clippy::large_enum_variant, reason = "nearly all are receipts")]
enum CallOutcome {
    Receipt(continuant::Receipt),
    Before(record::Version),
}

/// Prints the outcome of a call, and returns its failure.
fn print(
    asked: &Asked,
    answer: Result<CallOutcome>,
    printer: &mut Printer,
) -> Result<Option<Failure>> {
    let place = format!("line {}", asked.number);
    let failure = match answer {
        Ok(CallOutcome::Receipt(receipt)) if printer.is_json() => {
            receipt::show(&receipt, printer)?;
            return Ok(None);
        }
        Ok(CallOutcome::Before(version)) if printer.is_json() => {
            printer.document(&version.document)?;
            return Ok(None);
        }
        Ok(outcome) => {
            let (seq, result, when) = match &outcome {
                CallOutcome::Receipt(receipt) => (receipt.header.seq, receipt.result.as_ref(), ""),
                CallOutcome::Before(version) => {
                    (version.seq, version.result.as_ref(), ", on record")
                }
            };
            let result = result.map(|result| format!(", result {}", typed::show(result)));
            let result = result.unwrap_or_default();
            printer.line(&format!("{place}: version {seq}{result}{when}"))?;
            return Ok(None);
        }
        Err(failure) => failure,
    };
    if printer.is_json() {
        printer.document(&json!({ "error": failure.document() }))?;
    } else {
        printer.line(&format!("{place}: {}", failure.message()))?;
    }
    Ok(Some(failure.about(place)))
}
