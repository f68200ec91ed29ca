//! `show`: an object, its parts and the content of its newest version.

use std::path::PathBuf;

use clap::Args;
use continuant::schema::{Method, Schema};
use continuant::{Snapshot, Time, Value};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::{self, Target};
use crate::{files, moment, typed};

/// Characters of a value that are shown; `get` shows all.
pub(super) const VALUE_CHARS_MAX: usize = 72;

/// Show an object: its state, its methods, its lineage in figures
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The object
    object: String,

    /// Print the policy's text and nothing else
    #[arg(long, conflicts_with = "schema")]
    policy: bool,

    /// Print the schema's text and nothing else
    #[arg(long)]
    schema: bool,

    /// Write the policy's guard to a file and print nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["policy", "schema"])]
    guard: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long, requires = "guard")]
    force: bool,
}

impl Show {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        target.reading(|db| {
            target::mention_losses(db);
            let id = target::find(db, &self.object)?;
            let snapshot = db.snapshot(id)?;
            let definition = snapshot.definition();
            if let Some(path) = &self.guard {
                let Some(guard) = definition.policy.guard() else {
                    return Err(Failure::missing("no-guard", "the object's policy has no guard"));
                };
                let fill = |out: &mut dyn std::io::Write| {
                    let written = out.write_all(guard.wasm());
                    written.map_err(|error| Failure::file("writing", path, &error))
                };
                return files::write(path, self.force, fill).map(drop);
            }
            let text = match (self.policy, self.schema) {
                (true, _) => Some(("policy", definition.policy.text())),
                (_, true) => Some(("schema", definition.schema.text())),
                _ => None,
            };
            if let Some((what, text)) = text {
                return match printer.is_json() {
                    true => printer.document(&json!({ "object": id.to_string(), what: text })),
                    false => printer.text(text.trim_matches('\n')),
                };
            }
            let info = db.info(id)?;
            if printer.is_json() {
                let mut document = document(&snapshot, &info)?;
                document["ahead_ms"] =
                    json!(moment::milliseconds(info.time.saturating_duration_since(db.now())));
                return printer.document(&document);
            }
            let mut pairs = vec![("object", id.to_string())];
            pairs.extend(info.name.clone().map(|name| ("name", name)));
            pairs.push(("created", info.created.to_string()));
            pairs.extend(version(&snapshot, db.now()));
            pairs
                .push(("next wake", info.wake.map_or("none".to_string(), |time| time.to_string())));
            let deleted = info.deleted.map(|at| ("deleted", at.to_string()));
            pairs.extend(deleted);
            let moved = "in another database, until a later capsule of it is imported here";
            pairs.extend(info.moved.then(|| ("goes on", moved.to_string())));
            pairs.push(("refusals", info.refusal_count.to_string()));
            pairs.push(("package", definition.schema.package().to_string()));
            pairs.push(("code", info.code.to_string()));
            pairs.push(("policy", info.policy.to_string()));
            let guard = definition.policy.guard();
            pairs.extend(guard.map(|guard| ("guard", guard.hash().to_string())));
            printer.pairs(&pairs)?;
            section(printer, "state", &state(&snapshot)?)?;
            section(printer, "methods", &methods(&definition.schema))
        })
    }
}

/// Returns the figures of one version; `now` is the clock's time.
pub(super) fn version(snapshot: &Snapshot, now: Time) -> Vec<(&'static str, String)> {
    let header = snapshot.header();
    vec![
        ("version", header.seq.to_string()),
        ("hash", snapshot.hash().to_string()),
        ("time", moment::show_by(header.time, now)),
        ("memory root", header.memory_root.to_string()),
        ("memory", format!("{} bytes", crate::table::grouped(header.memory_bytes))),
    ]
}

/// A version as JSON.
pub(super) fn version_document(snapshot: &Snapshot) -> Result<Json> {
    let header = snapshot.header();
    Ok(json!({
        "object": snapshot.id().to_string(),
        "seq": header.seq,
        "hash": snapshot.hash().to_string(),
        "kind": header.kind.name(),
        "time": moment::json(header.time),
        "wake": moment::json(header.wake),
        "memory_root": header.memory_root.to_string(),
        "memory_bytes": header.memory_bytes,
        "refusals": header.refusal_count,
        "state": snapshot.state()?.to_json(),
    }))
}

fn document(snapshot: &Snapshot, info: &continuant::ObjectInfo) -> Result<Json> {
    let mut document = version_document(snapshot)?;
    document["name"] = json!(info.name);
    document["created"] = moment::json(info.created);
    document["moved"] = json!(info.moved);
    document["deleted"] = moment::json(info.deleted);
    document["refusals"] = json!(info.refusal_count);
    document["code"] = json!(info.code.to_string());
    document["policy"] = json!(info.policy.to_string());
    let guard = snapshot.definition().policy.guard();
    document["guard"] = json!(guard.map(|guard| guard.hash().to_string()));
    document["package"] = json!(snapshot.definition().schema.package());
    document["methods"] = snapshot.definition().schema.methods().iter().map(method).collect();
    Ok(document)
}

fn method(method: &Method) -> Json {
    let params = method.params.iter();
    let params = params.map(|param| json!({ "name": param.name, "type": param.ty.to_string() }));
    json!({
        "name": method.name,
        "params": params.collect::<Vec<_>>(),
        "result": method.result.as_ref().map(|ty| ty.to_string()),
    })
}

/// The fields of a version's state and their values.
pub(super) fn state(snapshot: &Snapshot) -> Result<Vec<(String, String)>> {
    let Value::Record(fields) = snapshot.state()? else { return Ok(Vec::new()) };
    let shown =
        fields.into_iter().map(|(name, value)| (name, typed::brief(&value, VALUE_CHARS_MAX)));
    Ok(shown.collect())
}

/// The methods that can be called, as they are written in WIT.
fn methods(schema: &Schema) -> Vec<(String, String)> {
    let shown = schema.methods().iter().map(|method| {
        let params = method.params.iter().map(|param| format!("{}: {}", param.name, param.ty));
        let params = params.collect::<Vec<_>>().join(", ");
        let result = method.result.as_ref().map_or(String::new(), |ty| format!(" -> {ty}"));
        (method.name.clone(), format!("({params}){result}"))
    });
    shown.collect()
}

/// Prints labelled lines under a heading, set in.
pub(super) fn section(
    printer: &mut Printer,
    heading: &str,
    lines: &[(String, String)],
) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    printer.line("")?;
    printer.line(heading)?;
    let set_in: Vec<String> = lines.iter().map(|(label, _)| format!("  {label}")).collect();
    let pairs = set_in.iter().zip(lines).map(|(label, (_, text))| (label.as_str(), text.clone()));
    printer.pairs(&pairs.collect::<Vec<_>>())
}
