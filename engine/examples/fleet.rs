//! A fleet of objects that run by themselves: street lamps, each of which goes out in its time.
//!
//! The clock here is moved by hand, so that an hour takes no time. Under the system's clock, which
//! is the default, the database's own timer runs each cycle when its time has come.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use continuant::{Clock, Code, Database, Options, Time, args, samples};

/// 2026-01-01T18:00:00Z.
const EVENING: Time = Time::from_millis(1_767_290_400_000);
const MINUTE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    run(&directory.path().join("street"), &mut io::stdout())
}

pub(crate) fn run(path: &Path, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let db = Options::new().clock(Clock::manual(EVENING)).open(path)?;
    // An outbox is a place in the log: what objects put out from here on is given once it is
    // durable, until it is acknowledged.
    db.create_outbox("control-room")?;

    // All creations and calls are under way at once, and share the waits for the disk.
    let mut pending = Vec::new();
    for number in 1..=60u32 {
        let code = Code::wasm(samples::LAMP)?.policy(samples::LAMP_POLICY);
        let (lamp, created) = db.begin_create(code.name(format!("lamp/{number:02}")))?;
        pending.push(created);
        pending.push(db.call(lamp, "switch-on", args![number * 60]).submit()?);
    }
    pending.into_iter().try_for_each(|pending| pending.wait().map(|_| ()))?;
    writeln!(out, "18:00: {} lamps are on", lit(&db)?)?;

    // A wake is part of an object, so it is still there when the database is opened again.
    db.close()?;
    let db = Options::new().clock(Clock::manual(EVENING)).open(path)?;
    for minutes in [15, 45, 60] {
        db.run_until(EVENING.saturating_add(minutes * MINUTE))?;
        writeln!(out, "+{minutes} minutes: {} lamps are on", lit(&db)?)?;
    }

    let mut outbox = db.outbox("control-room")?;
    let mut count = 0;
    while let Some(outgoing) = outbox.next().transpose()? {
        assert_eq!(outgoing.output.name, "lamp-out");
        outbox.acknowledge(outgoing.place)?;
        count += 1;
    }
    writeln!(out, "the control room heard of {count} lamps")?;
    Ok(())
}

/// Returns the count of lamps that are on, among those with a name such as `lamp/07`.
fn lit(db: &Database) -> continuant::Result<usize> {
    let mut count = 0;
    for lamp in db.objects().named("lamp/") {
        count += usize::from(db.snapshot(lamp?.id)?.get::<bool>("on")?);
    }
    Ok(count)
}
