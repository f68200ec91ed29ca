//! The record of a batch: which of its lines were made before, and with which outcome.
//!
//! A line is known by its nonce and by the keys that signed it. Once for each object, its versions
//! are read from the newest back to the first that the keys signed under a nonce from before the
//! batch, and the refusals behind them; each line on record takes 16 bytes of memory. This module
//! does not post anything.

use std::collections::{BTreeSet, HashMap};

use continuant::object::credential::Memo;
use continuant::object::input::{Input, Request};
use continuant::policy::admission;
use continuant::schema::decode_value;
use continuant::{
    Database, Entry, ObjectId, Payloads, PublicKey, RefusalEntry, SigningKey, Value, VersionEntry,
};
use serde_json::{Value as Json, json};

use super::Asked;
use crate::failure::{Failure, Result};
use crate::{moment, receipt};

/// The kind of the failure when there is nothing to resume.
pub(super) const NO_BATCH: &str = "no-batch";

/// The record of one line.
pub(super) enum Before {
    /// The line is not on record, and may be made.
    Nothing,
    /// The version that it made.
    Version(Version),
    /// The line was refused.
    Refused(Failure),
    /// The line is not on record, and a later one is.
    Passed(Failure),
}

/// A version that a line made.
pub(super) struct Version {
    pub(super) seq: u64,
    pub(super) result: Option<Value>,
    pub(super) document: Json,
}

/// The record of a batch, object by object.
pub(super) struct Records {
    keys: Vec<PublicKey>,
    base: u64,
    is_resumed: bool,
    objects: HashMap<ObjectId, Record>,
}

/// The record of a batch at one object.
#[derive(Default)]
struct Record {
    /// The nonces of lines that made versions, ascending, with the versions.
    made: Vec<(u64, u64)>,
    /// The nonces of lines that were refused, ascending, with the refusals' numbers.
    refused: Vec<(u64, u64)>,
    /// The last nonce of the keys that is on record.
    last: Option<u64>,
}

impl Records {
    /// Knows nothing yet.
    pub(super) fn new(keys: &[SigningKey], base: u64, is_resumed: bool) -> Records {
        let mut keys: Vec<PublicKey> = keys.iter().map(SigningKey::public).collect();
        keys.sort_unstable();
        keys.dedup();
        assert!(
            !keys.is_empty(),
            "a batch is signed, or unsigned inputs would be taken for its own"
        );
        Records { keys, base, is_resumed, objects: HashMap::new() }
    }

    /// Returns whether a line up to the last is on record at one of these objects.
    pub(super) fn is_begun(
        &mut self,
        db: &Database,
        objects: &BTreeSet<ObjectId>,
        last: u64,
    ) -> Result<bool> {
        let end = self.base.saturating_add(last);
        for id in objects {
            let record = self.record(db, *id)?;
            let mut known = record.made.iter().chain(&record.refused);
            if known.any(|(nonce, _)| *nonce <= end) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the failure that nothing is on record at `object_count` objects, and what to do.
    pub(super) fn missing(&self, object_count: usize) -> Failure {
        let base = self.base;
        let keys: Vec<String> = self.keys.iter().map(PublicKey::to_string).collect();
        let keys = keys.join(" and ");
        let objects = match object_count {
            1 => "the one object that the lines name".to_string(),
            count => format!("the {count} objects that the lines name"),
        };
        let message = format!(
            "no call of a batch with the base {base}, signed by {keys}, is on record of {objects}: \
             give the base that was printed when the batch began, and the same keys; --resume \
             {base} --anew makes all of its calls"
        );
        Failure::missing(NO_BATCH, message)
    }

    /// Returns the record at an object.
    fn record(&mut self, db: &Database, id: ObjectId) -> Result<&Record> {
        if !self.objects.contains_key(&id) {
            let record = self.read(db, id)?;
            self.objects.insert(id, record);
        }
        Ok(&self.objects[&id])
    }

    /// Returns the record of a line.
    pub(super) fn before(&mut self, db: &Database, asked: &Asked) -> Result<Before> {
        let place = format!("line {}", asked.number);
        let record = self.record(db, asked.object).map_err(|failure| failure.about(&place))?;
        let find = |known: &[(u64, u64)]| {
            let index = known.binary_search_by_key(&asked.nonce, |entry| entry.0);
            index.ok().map(|index| known[index].1)
        };
        if let Some(seq) = find(&record.made) {
            let version = version(db, asked, seq).map_err(|failure| failure.about(&place))?;
            return Ok(Before::Version(version));
        }
        if let Some(number) = find(&record.refused) {
            let refused = refusal(db, asked, number).map_err(|failure| failure.about(&place))?;
            return Ok(Before::Refused(refused));
        }
        let passed = record.last.is_some_and(|last| last >= asked.nonce);
        Ok(if passed { Before::Passed(self.passed()) } else { Before::Nothing })
    }

    fn passed(&self) -> Failure {
        let message = "the call is not on record, and cannot be made in this batch any more, \
                       because the same keys signed a call on record with a later nonce";
        Failure::new("passed", format!("{message}: give it in a batch of its own"))
    }

    /// Reads the record at an object.
    fn read(&self, db: &Database, id: ObjectId) -> Result<Record> {
        let mut known = None;
        for key in &self.keys {
            known = known.max(db.last_nonce(id, key)?);
        }
        if !self.is_resumed {
            return match known {
                Some(last) if last > self.base => Err(self.used(last)),
                _ => Ok(Record::default()),
            };
        }
        // The keys' last nonce is from before the batch.
        let (mut record, first) = match known {
            Some(last) if last <= self.base => (Record::default(), 0),
            _ => self.versions(db, id)?,
        };
        record.last = record.last.max(known);
        record.refused = self.refusals(db, id, first)?;
        Ok(record)
    }

    fn used(&self, last: u64) -> Failure {
        let used = format!("the keys used the nonce {last} on the object already");
        let message = format!("{used}, which is above this batch's nonces");
        let base = self.base;
        Failure::usage(format!(
            "{message}: --resume {base} continues a batch, --base {last} begins another one"
        ))
    }

    /// The batch's versions, and the first version that may be one.
    fn versions(&self, db: &Database, id: ObjectId) -> Result<(Record, u64)> {
        let mut record = Record::default();
        let mut first = 0;
        for entry in db.history(id).backwards() {
            let Entry::Version(VersionEntry { header, payloads, .. }) = entry? else { continue };
            let Some(Payloads { input, admission, .. }) = payloads else {
                let message = "which lines are on record is unknown: retention dropped the input";
                let message = format!("{message} of version {}", header.seq);
                return Err(Failure::new("dropped", message));
            };
            let Some(nonce) = self.nonce(&input, &admission.signers) else { continue };
            record.last = record.last.max(Some(nonce));
            if nonce <= self.base {
                first = header.seq;
                break;
            }
            if admission.signers == self.keys {
                record.made.push((nonce, header.seq));
            }
        }
        record.made.reverse();
        Ok((record, first))
    }

    /// The nonce that an input used of one of the keys.
    fn nonce(&self, input: &Input, signers: &[PublicKey]) -> Option<u64> {
        let credential = input.credential.as_ref().filter(|it| it.session().is_none())?;
        signers.iter().any(|signer| self.keys.contains(signer)).then_some(credential.nonce)
    }

    /// Returns the refusals of the batch behind the version `first` or a later one. Verifies the
    /// keys in a refusal: anybody may have named them.
    fn refusals(&self, db: &Database, id: ObjectId, first: u64) -> Result<Vec<(u64, u64)>> {
        let mut refused = Vec::new();
        let memo = Memo::default();
        for entry in db.history(id).refused().backwards().seqs(first..u64::MAX) {
            let Entry::Refusal(RefusalEntry { number, input, .. }) = entry? else { continue };
            let Some(credential) = input.credential.as_ref().filter(|it| it.nonce > self.base)
            else {
                continue;
            };
            let signers = credential.verify(id, &input.request, &memo);
            if signers.is_ok_and(|signers| signers == self.keys) {
                refused.push((credential.nonce, number));
            }
        }
        refused.sort_unstable();
        refused.dedup_by_key(|entry| entry.0);
        Ok(refused)
    }
}

/// Checks that the entry on record is the line's call.
fn validate(db: &Database, asked: &Asked, entry: &Entry, request: &Request) -> Result<()> {
    let definition = db.definition(entry.under())?;
    let method = request.called().map(|(method, _)| method);
    let arguments = admission::arguments(&definition, request)?;
    let arguments = arguments.into_iter().map(|(_, value)| value);
    if method == Some(&asked.method[..]) && arguments.eq(asked.arguments.iter().cloned()) {
        return Ok(());
    }
    let found = format!("another input of the object, {}, has the line's nonce", request.action());
    Err(Failure::usage(format!("{found}: these are not the lines with which the batch began")))
}

/// The version that a line made.
fn version(db: &Database, asked: &Asked, seq: u64) -> Result<Version> {
    let gone = || {
        let message = format!("version {seq} is no longer in the database");
        Failure::missing("no-version", message)
    };
    let mut entries = db.history(asked.object).backwards().seqs(seq..seq + 1);
    let entry = entries.next().ok_or_else(gone)??;
    let Entry::Version(VersionEntry { header, hash, payloads: Some(payloads) }) = &entry else {
        return Err(gone());
    };
    let Payloads { input, effects, admission } = payloads;
    validate(db, asked, &entry, &input.request)?;
    let definition = db.definition(entry.under())?;
    let result = definition.schema.require_method(&asked.method)?.result.as_ref();
    let result = result.map(|ty| decode_value(&effects.result, ty)).transpose()?;
    let document = json!({
        "object": asked.object.to_string(),
        "seq": seq,
        "version": hash.to_string(),
        "kind": header.kind.name(),
        "time": moment::json(header.time),
        "result": result.as_ref().map(Value::to_json),
        "outputs": effects.outputs.iter().map(receipt::output).collect::<Vec<_>>(),
        "messages": effects.messages.iter().map(receipt::message).collect::<Vec<_>>(),
        "wake": moment::json(header.wake),
        "fuel": header.fuel,
        "rules": admission.rules,
        "before": true,
    });
    Ok(Version { seq, result, document })
}

/// The refusal of a line, as a failure.
fn refusal(db: &Database, asked: &Asked, number: u64) -> Result<Failure> {
    let entries = db.history(asked.object).refused().backwards();
    for entry in entries {
        let entry = entry?;
        let Entry::Refusal(refusal) = &entry else { continue };
        if refusal.number != number {
            continue;
        }
        validate(db, asked, &entry, &refusal.input.request)?;
        let verdict = &refusal.refusal.verdict;
        return Ok(Failure::refused(format!("refused before, refusal {number}: {verdict}")));
    }
    Err(Failure::missing("no-refusal", format!("refusal {number} is no longer in the database")))
}
