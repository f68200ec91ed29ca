//! `session`: makes sessions, and opens them on objects.
//!
//! A session here is a secret in a file, and not part of a database; the database that a command
//! works on is a `Session` too, and passed as a parameter.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use continuant::{Clock, Time};
use serde_json::json;

use super::call::Signing;
use crate::failure::Result;
use crate::printer::Printer;
use crate::refused::Asked;
use crate::target::{self, Target};
use crate::{aside, keyfile, moment, receipt};

/// Make a session, or open one on an object, to send inputs in it without signatures
#[derive(Debug, Subcommand)]
pub(crate) enum Session {
    New(New),
    Open(Open),
}

/// Make a new session: a file of a secret and a time that only its owner may read
#[derive(Debug, Args)]
pub(crate) struct New {
    /// The session file
    #[arg(value_name = "SESSIONFILE")]
    path: PathBuf,

    /// The session's duration by this host's clock, at most seven days. An object ahead of the
    /// clock counts by its own time: for it the session ends sooner, and opening the session there
    /// says so
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::parse_span,
          default_value = "1h")]
    span: Duration,
}

/// Open a session on an object: until it ends, inputs in it count as those of the keys that sign
/// this
///
/// Governed like any other change: the policy's action is `open_session`, and only a rule that
/// names it permits it. Only this database attests which inputs came in a session.
#[derive(Debug, Args)]
pub(crate) struct Open {
    /// The object
    object: String,

    /// The session file
    #[arg(value_name = "SESSIONFILE")]
    path: PathBuf,

    #[command(flatten)]
    signing: Signing,
}

impl Session {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        match self {
            Session::New(new) => new.run(printer),
            Session::Open(open) => open.run(target, printer),
        }
    }
}

impl New {
    fn run(self, printer: &mut Printer) -> Result<()> {
        let expires = Clock::system().now().saturating_add(self.span);
        let session = keyfile::create_session(&self.path, expires)?;
        let (file, id) = (self.path.display().to_string(), session.id().to_string());
        let expires = session.expires();
        let document = json!({ "file": file, "session": id });
        printer.done(format!("the session file {file}, of the session {id}"), document);
        match printer.is_json() {
            true => printer.document(
                &json!({ "file": file, "session": id, "expires": moment::json(expires) }),
            ),
            false => printer.pairs(&[
                ("session file", file),
                ("session", id),
                ("ends", expires.to_string()),
            ]),
        }
    }
}

/// Returns a line for a session that ends sooner for an object, because its time is ahead of `now`.
fn sooner(object: &str, expires: Time, time: Time, now: Time) -> Option<String> {
    let by = moment::show_span(time.checked_duration_since(now).filter(|by| !by.is_zero())?);
    let ends = match expires.checked_duration_since(time) {
        Some(left) => format!("ends in {}", moment::show_span(left)),
        None => "has ended already; make one for a longer span with `continuant session new --for \
                 SPAN`"
            .to_string(),
    };
    Some(format!("{object} is {by} ahead of this host's clock: for it the session {ends}"))
}

impl Open {
    fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let session = keyfile::read_session(&self.path)?;
        let secrets = self.signing.secrets()?;
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            if let Some(note) = sooner(&self.object, session.expires(), db.info(id)?.time, db.now())
            {
                aside::note(printer, "ahead", &note);
            }
            let opening = db.open_session(id, &session);
            let asked = Asked { name: &self.object, id, action: "open_session" };
            let receipt = self.signing.wait((db, asked), opening, &secrets)?;
            receipt::print(&receipt, printer)
        })
    }
}
