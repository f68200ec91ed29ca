//! Receipts: the outcome of an input, printed for people and programs.
//!
//! This module does not know the command.

use continuant::{Message, Output, Receipt, Value};
use serde_json::{Value as Json, json};

use crate::failure::Result;
use crate::moment;
use crate::printer::Printer;
use crate::target::short;
use crate::typed;

/// Prints the receipt of a request; if that fails, the error says that the version is durable all
/// the same.
pub(crate) fn print(receipt: &Receipt, printer: &mut Printer) -> Result<()> {
    let Receipt { object, version, header, .. } = receipt;
    let what = format!("version {} of object {object}, hash {version}", header.seq);
    let (object, version) = (object.to_string(), version.to_string());
    let document = json!({ "object": object, "seq": header.seq, "version": version });
    printer.done(what, document);
    show(receipt, printer)
}

/// Prints a receipt, which may be one of many.
pub(crate) fn show(receipt: &Receipt, printer: &mut Printer) -> Result<()> {
    if printer.is_json() {
        return printer.document(&document(receipt)?);
    }
    let header = &receipt.header;
    let mut pairs = vec![
        ("version", header.seq.to_string()),
        ("hash", receipt.version.to_string()),
        ("time", header.time.to_string()),
    ];
    if let Some(result) = &receipt.result {
        pairs.push(("result", typed::show(result)));
    }
    for output in receipt.outputs()? {
        pairs.push(("output", show_output(output)));
    }
    for message in &receipt.messages {
        pairs.push(("message", show_message(message)));
    }
    if let Some(wake) = header.wake {
        pairs.push(("next wake", wake.to_string()));
    }
    if !receipt.rules.is_empty() {
        pairs.push(("permitted by", receipt.rules.join(", ")));
    }
    printer.pairs(&pairs)
}

fn document(receipt: &Receipt) -> Result<Json> {
    let header = &receipt.header;
    Ok(json!({
        "object": receipt.object.to_string(),
        "seq": header.seq,
        "version": receipt.version.to_string(),
        "kind": header.kind.name(),
        "time": moment::json(header.time),
        "result": receipt.result.as_ref().map(Value::to_json),
        "outputs": receipt.outputs()?.iter().map(output).collect::<Vec<_>>(),
        "messages": receipt.messages.iter().map(message).collect::<Vec<_>>(),
        "wake": moment::json(header.wake),
        "fuel": header.fuel,
        "rules": receipt.rules,
    }))
}

/// An output as JSON: its payload as hexadecimal digits.
pub(crate) fn output(output: &Output) -> Json {
    json!({ "name": output.name, "payload": hex(&output.payload) })
}

/// An output in a word: its payload as text where it is some.
pub(crate) fn show_output(output: &Output) -> String {
    let text = str::from_utf8(&output.payload).ok();
    let text = text.filter(|text| text.chars().all(|letter| !letter.is_control()));
    match text {
        _ if output.payload.is_empty() => output.name.clone(),
        Some(text) => format!("{} {text:?}", output.name),
        None => format!("{} {}", output.name, hex(&output.payload)),
    }
}

/// A message as JSON: its arguments as hexadecimal digits.
pub(crate) fn message(message: &Message) -> Json {
    let Message { to, method, arguments } = message;
    json!({ "to": to.to_string(), "method": method, "arguments": hex(arguments) })
}

/// A message in a word.
pub(crate) fn show_message(message: &Message) -> String {
    format!("{} to {}", message.method, short(&message.to))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
