//! `history`: the versions of an object, and its refusals.

use clap::Args;
use continuant::object::credential::Credential;
use continuant::object::effects::Admission;
use continuant::object::hash::PolicyHash;
use continuant::object::input::{Input, Request};
use continuant::policy::admission;
use continuant::policy::definition::Definition;
use continuant::schema::decode_value;
use continuant::{Entry, Payloads, PublicKey, RefusalEntry, SessionId, Time, Value, VersionEntry};
use serde_json::{Map, Value as Json, json};

use crate::failure::Result;
use crate::printer::Printer;
use crate::table::{Align, Table};
use crate::target::{self, Target, short};
use crate::{aside, moment, number, receipt, typed};

/// Show the history of an object: its versions and its refusals
///
/// Where a range of time begins is found in a few steps, however long the history is.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The object
    object: String,

    /// Refusals only
    #[arg(long)]
    refused: bool,

    /// Newest first: versions, or with --refused refusals
    #[arg(long)]
    backwards: bool,

    /// From this time on
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    since: Option<Time>,

    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = moment::parse_past)]
    until: Option<Time>,

    /// Print at most this many entries
    #[arg(long, value_name = "COUNT", value_parser = number::parse::<usize>)]
    limit: Option<usize>,
}

/// Characters of an argument that are shown to people.
const VALUE_CHARS_MAX: usize = 24;

/// The columns of a history for people.
pub(super) const COLUMNS: [(&str, Align); 5] = [
    ("version", Align::Right),
    ("time", Align::Left),
    ("signed by", Align::Left),
    ("input", Align::Left),
    ("outcome", Align::Left),
];

impl History {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            let id = target::find(db, &self.object)?;
            let mut history = db.history(id).since(self.since.unwrap_or(Time::MIN));
            history = history.until(self.until.unwrap_or(Time::MAX));
            history = history.limit(self.limit.unwrap_or(usize::MAX));
            if self.refused {
                history = history.refused();
            }
            if self.backwards {
                history = history.backwards();
            }
            let mut table = Table::new(COLUMNS);
            let mut entries = history.peekable();
            if entries.peek().is_none() {
                let nothing = match self.refused {
                    _ if self.limit == Some(0) => "--limit 0 lists none",
                    true => "no refusal matches",
                    false => "no version or refusal matches",
                };
                aside::note(printer, "no-entries", nothing);
                return Ok(());
            }
            for entry in entries {
                let entry = entry?;
                let definition = db.definition(entry.under())?;
                match printer.is_json() {
                    true => printer.document(&document(&entry, &definition)?)?,
                    false => table.row(printer, cells(&entry, &definition)?)?,
                }
            }
            if printer.is_json() { Ok(()) } else { table.end(printer) }
        })
    }
}

/// An entry's cells.
pub(super) fn cells(entry: &Entry, definition: &Definition) -> Result<[String; 5]> {
    let time = entry.time().to_string();
    Ok(match entry {
        Entry::Version(version) => {
            let seq = version.header.seq.to_string();
            let Some(payloads) = &version.payloads else {
                let kind = version.header.kind.name().to_string();
                return Ok([seq, time, "-".to_string(), kind, "dropped by retention".to_string()]);
            };
            let signers = signers(payloads.admission.signers.iter().copied(), &payloads.input);
            [seq, time, signers, input(&payloads.input, definition)?, outcome(payloads)]
        }
        Entry::Refusal(entry) => [
            "-".to_string(),
            time,
            signers(claimed(&entry.input), &entry.input),
            input(&entry.input, definition)?,
            format!("refusal {}: {}", entry.number, entry.refusal.verdict),
        ],
    })
}

/// The keys that an input says it is of: of a refused one, they may be why it was refused.
pub(super) fn claimed(input: &Input) -> impl Iterator<Item = PublicKey> {
    let signatures = input.credential.iter().flat_map(|credential| credential.signatures());
    signatures.map(|signature| PublicKey(signature.key))
}

/// Returns the keys that signed an input, or opened its session, with a note of the session.
pub(super) fn signers(keys: impl Iterator<Item = PublicKey>, input: &Input) -> String {
    const DIGITS: usize = 8;
    let mut words = keys.map(|key| key.to_string()[..DIGITS].to_string()).collect::<Vec<_>>();
    if session_of(input).is_some() {
        words.push("in session".to_string());
    }
    words.extend(input.request.origin().map(|origin| format!("object {}", short(&origin.sender))));
    if words.is_empty() { "-".to_string() } else { words.join(" ") }
}

fn session_of(input: &Input) -> Option<SessionId> {
    input.credential.as_ref().and_then(Credential::session)
}

/// `fly(minutes: 227, miles: 1400)`.
pub(super) fn input(input: &Input, definition: &Definition) -> Result<String> {
    let arguments = arguments(&input.request, definition)?;
    let arguments = arguments
        .iter()
        .map(|(name, value)| format!("{name}: {}", typed::brief_word(value, VALUE_CHARS_MAX)));
    let arguments = arguments.collect::<Vec<_>>().join(", ");
    Ok(format!("{}({arguments})", input.request.action()))
}

/// The arguments of a request; the fields of a direct write; the hash of a policy; the session and
/// its last moment.
fn arguments(request: &Request, definition: &Definition) -> Result<Vec<(String, Value)>> {
    let field = |(path, bytes): &(String, Vec<u8>)| {
        let place = definition.schema.resolve(path)?;
        Ok((path.clone(), decode_value(bytes, place.ty())?))
    };
    match request {
        Request::Write { fields } => fields.iter().map(field).collect(),
        Request::Amend { policy } => {
            let hash = PolicyHash::of(policy).to_string();
            Ok(vec![("policy".to_string(), Value::from(hash.as_str()))])
        }
        Request::Upgrade { code, policy } => Ok(vec![
            ("code".to_string(), Value::from(code.to_string().as_str())),
            ("policy".to_string(), Value::from(policy.to_string().as_str())),
        ]),
        Request::OpenSession { session, expires } => Ok(vec![
            ("session".to_string(), Value::from(session.to_string().as_str())),
            ("expires".to_string(), Value::from(expires.to_string().as_str())),
        ]),
        Request::Fork { of, .. } => Ok(vec![
            ("object".to_string(), Value::from(of.object_id().to_string().as_str())),
            ("seq".to_string(), Value::from(of.seq)),
        ]),
        // A message's arguments need not be those of the method.
        Request::Message { arguments, .. } => match admission::arguments(definition, request) {
            Ok(arguments) => Ok(arguments),
            Err(_) => {
                let bytes = receipt::hex(arguments);
                Ok(vec![("bytes".to_string(), Value::from(bytes.as_str()))])
            }
        },
        request => Ok(admission::arguments(definition, request)?),
    }
}

fn outcome(payloads: &Payloads) -> String {
    let mut parts = Vec::new();
    let Admission { rules, migrated, .. } = &payloads.admission;
    if !rules.is_empty() {
        parts.push(format!("permitted by {}", rules.join(", ")));
    }
    if !migrated.is_empty() {
        parts.push(format!("by the new policy by {}", migrated.join(", ")));
    }
    parts.extend(payloads.effects.outputs.iter().map(|output| {
        let shown = receipt::show_output(output);
        format!("output {shown}")
    }));
    let messages = payloads.effects.messages.iter();
    parts.extend(messages.map(|it| format!("message {}", receipt::show_message(it))));
    if parts.is_empty() { "created".to_string() } else { parts.join("; ") }
}

/// An entry as JSON.
pub(super) fn document(entry: &Entry, definition: &Definition) -> Result<Json> {
    match entry {
        Entry::Version(entry) => version_document(entry, definition),
        Entry::Refusal(entry) => refusal_document(entry, definition),
    }
}

fn version_document(entry: &VersionEntry, definition: &Definition) -> Result<Json> {
    let header = &entry.header;
    let Some(Payloads { input, effects, admission }) = &entry.payloads else {
        return Ok(json!({
            "seq": header.seq,
            "time": moment::json(header.time),
            "kind": header.kind.name(),
            "version": entry.hash.to_string(),
            "dropped": true,
        }));
    };
    let result = match input.request.called() {
        Some((method, _)) => definition.schema.require_method(method)?.result.as_ref(),
        None => None,
    };
    let result = result.map(|ty| decode_value(&effects.result, ty)).transpose()?;
    let rules = [&admission.rules[..], &admission.migrated].concat();
    Ok(json!({
        "seq": header.seq,
        "time": moment::json(header.time),
        "kind": header.kind.name(),
        "input": request_document(input, definition)?,
        "signers": admission.signers.iter().map(PublicKey::to_string).collect::<Vec<_>>(),
        "rules": rules,
        "version": entry.hash.to_string(),
        "result": result.as_ref().map(Value::to_json),
        "outputs": effects.outputs.iter().map(receipt::output).collect::<Vec<_>>(),
        "messages": effects.messages.iter().map(receipt::message).collect::<Vec<_>>(),
        "wake": moment::json(header.wake),
        "fuel": header.fuel,
        "pages": header.page_count,
    }))
}

fn refusal_document(entry: &RefusalEntry, definition: &Definition) -> Result<Json> {
    let verdict = &entry.refusal.verdict;
    Ok(json!({
        "seq": entry.refusal.seq,
        "time": moment::json(entry.input.time),
        "kind": "refusal",
        "number": entry.number,
        "input": request_document(&entry.input, definition)?,
        "claimed_signers": claimed(&entry.input).map(|key| key.to_string()).collect::<Vec<_>>(),
        "reason": verdict.reason.name(),
        "rules": verdict.rules,
        "detail": verdict.detail,
    }))
}

pub(super) fn request_document(input: &Input, definition: &Definition) -> Result<Json> {
    let arguments = arguments(&input.request, definition)?;
    let arguments = arguments.into_iter().map(|(name, value)| (name, value.to_json()));
    let arguments = arguments.collect::<Map<_, _>>();
    let mut document = json!({ "action": input.request.action(), "arguments": arguments });
    if let Some(session) = session_of(input) {
        document["session"] = session.to_string().into();
    }
    if let Some(origin) = input.request.origin() {
        document["from"] = json!({
            "object": origin.sender.to_string(),
            "seq": origin.seq,
            "version": origin.version.to_string(),
            "index": origin.index,
        });
    }
    Ok(document)
}
