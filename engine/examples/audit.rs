//! An auditor's questions: what happened, who did it, why it was permitted, and is that true.
//!
//! The last answer needs no trust in the database: a capsule is verified where nothing else of it
//! is, by running every step again.

use std::io::{self, Cursor, Write};
use std::path::Path;
use std::time::Duration;

use continuant::{
    Clock, Code, Database, Entry, ObjectId, Options, PublicKey, Replay, SigningKey, Time, args,
    samples, verify_capsule,
};

/// 2026-01-01T09:00:00Z.
const MORNING: Time = Time::from_millis(1_767_258_000_000);
const MINUTE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    run(&directory.path().join("books"), &mut io::stdout())
}

pub(crate) fn run(path: &Path, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().clock(Clock::manual(MORNING)).open(path)?;
    let (ada, eve) = (SigningKey::from_secret(&[1; 32]), SigningKey::from_secret(&[2; 32]));
    // Only Ada's key may count, and nobody by more than 1,000.
    let policy = format!(
        r#"@id("ada") permit(principal == Key::"{}", action == Action::"increment", resource)
           when {{ context.input.by <= 1000 }};"#,
        ada.public()
    );
    let counter = db.create(Code::wasm(samples::COUNTER)?.policy(policy).secret([7; 32]))?;
    for (minute, key, by) in [(1, &ada, 5), (2, &eve, 50), (3, &ada, 0), (4, &ada, 7)] {
        db.run_until(MORNING.saturating_add(minute * MINUTE))?;
        let outcome = db.call(counter, "increment", args![by as u64]).signed(key).wait();
        match outcome {
            Ok(receipt) => writeln!(out, "version {}", receipt.header.seq)?,
            Err(error) if error.is_refused() => writeln!(out, "refused")?,
            Err(error) => return Err(error.into()),
        }
    }
    history(&db, counter, &ada.public(), out)?;

    // The version that gave the field its value. Version 2 added nothing, so it is not the one.
    let blame = db.blame(counter, "count")?;
    writeln!(out, "count is of version {}, {:?}", blame.entry.header.seq, blame.end)?;
    writeln!(out, "before, it was {}", db.at(counter, 2)?.get::<u64>("count")?)?;

    // The rules that decided, and the facts that they read.
    let policy = db.explain(counter, 3)?.policy.ok_or("the policy decided")?;
    for rule in &policy.rules {
        let reads: Vec<&str> = rule.reads.iter().map(|read| read.path.as_str()).collect();
        writeln!(out, "rule {} read {}", rule.id, reads.join(", "))?;
    }

    let verified = db.verify(counter, Replay::Yes)?;
    writeln!(out, "verified: {} versions, {} refusal", verified.versions, verified.refusals)?;
    elsewhere(&db, counter, out)
}

/// Prints each version and each refusal, in order, with who asked for it.
fn history(
    db: &Database,
    id: ObjectId,
    ada: &PublicKey,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    for entry in db.history(id) {
        let entry = entry?;
        let minute = entry.time().saturating_duration_since(MORNING).as_secs() / 60;
        match &entry {
            Entry::Version(version) => {
                let (seq, kind) = (version.header.seq, version.header.kind.name());
                // Payloads are there as long as retention keeps them.
                let payloads = version.payloads.as_ref().ok_or("nothing was dropped")?;
                let by_ada = payloads.admission.signers.contains(ada);
                let who = if by_ada { "ada" } else { "nobody" };
                writeln!(out, "09:{minute:02} version {seq}: {kind}, signed by {who}")?;
            }
            Entry::Refusal(refusal) => {
                let reason = refusal.refusal.verdict.reason.name();
                writeln!(out, "09:{minute:02} refusal {}: {reason}", refusal.number)?;
            }
        }
    }
    Ok(())
}

/// Exports the object and verifies it without the database, as it is and with a byte changed.
fn elsewhere(
    db: &Database,
    id: ObjectId,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut capsule = Vec::new();
    db.export(id, &mut capsule)?;
    let verified = verify_capsule(Cursor::new(&capsule), Replay::Yes)?;
    let is_newest = verified.head == db.snapshot(id)?.hash();
    writeln!(out, "the capsule verifies, up to the newest version: {is_newest}")?;
    let middle = capsule.len() / 2;
    capsule[middle] ^= 1;
    let damaged = verify_capsule(Cursor::new(&capsule), Replay::Yes).is_err();
    writeln!(out, "with a bit changed it does not verify: {damaged}")?;
    Ok(())
}
