//! The one error of the command line: a kind for programs, a sentence for people, an exit code.
//!
//! It does not print. It holds the one table of which of the engine's errors ends in which code.
//!
//! Invariant: a message says what was expected, or what to do; it is printed as one line. What is
//! wrong in a text is told beside it, each finding with its line quoted.

use std::fmt;
use std::io;
use std::path::Path;

use continuant::object::Diagnostic;
use continuant::object::refusal::Verdict;
use continuant::{Error, ErrorKind, object, storage};
use serde_json::{Map, Value as Json, json};

use crate::stop;

/// The result of everything here that can fail.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit code of arguments that are not as they must be.
pub(crate) const USAGE: u8 = 2;
const FAILED: u8 = 1;
const REFUSED: u8 = 3;
const DAMAGED: u8 = 4;
const MISSING: u8 = 5;
const BROKEN: u8 = 6;
const NOT_PRINTED: u8 = 7;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    exit_code: u8,
    message: String,
    /// What programs are told beside.
    details: Box<Map<String, Json>>,
    /// What is wrong in a text that was given; all of it is in the message as well.
    findings: Vec<Diagnostic>,
    /// Whether it is of the output, which could not be printed.
    is_of_output: bool,
}

/// What a command has made durable, to be said where its receipt cannot be printed.
#[derive(Debug)]
pub(crate) struct Done {
    /// What there is now, in words that follow "it is done, and durable: ".
    pub(crate) what: String,
    /// The same, for programs.
    pub(crate) document: Json,
}

/// The kind of the failure to print, because whoever read has stopped.
const CLOSED_PIPE: &str = "closed-pipe";

impl Failure {
    fn with(kind: &'static str, exit_code: u8, message: impl Into<String>) -> Failure {
        let (details, findings, is_of_output) = (Box::default(), Vec::new(), false);
        Failure { kind, exit_code, message: message.into(), details, findings, is_of_output }
    }

    /// Something that failed for a reason of its own.
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure::with(kind, FAILED, message)
    }

    /// Arguments that are not as they must be.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::with("usage", USAGE, message)
    }

    /// An object, version or database that is not there.
    pub(crate) fn missing(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure::with(kind, MISSING, message)
    }

    /// An input that would be refused.
    pub(crate) fn refused(message: impl Into<String>) -> Failure {
        Failure::with("refused", REFUSED, message)
    }

    /// An invariant that does not hold.
    pub(crate) fn broken(message: impl Into<String>) -> Failure {
        Failure::with("broken", BROKEN, message)
    }

    /// Something at rest that is damaged or does not verify.
    pub(crate) fn damaged(kind: &'static str, message: impl Into<String>) -> Failure {
        Failure::with(kind, DAMAGED, message)
    }

    /// What a signal stopped before it was done.
    pub(crate) fn stopped(signal: i32, done: impl fmt::Display) -> Failure {
        let message = format!("stopped by {}: {done}", stop::name(signal));
        Failure::with("stopped", stop::code(signal), message)
    }

    /// A file that could not be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::new("io", format!("{doing} {}: {error}", path.display()))
    }

    /// Output that could not be printed.
    pub(crate) fn print(error: &io::Error) -> Failure {
        let closed = error.kind() == io::ErrorKind::BrokenPipe;
        let kind = if closed { CLOSED_PIPE } else { "io" };
        let failure = Failure::new(kind, format!("writing output: {error}"));
        Failure { is_of_output: true, ..failure }
    }

    /// A failure of its own behind something that is done, which could not be printed.
    pub(crate) fn behind(self, done: &Done) -> Failure {
        let what = &done.what;
        let advice = format!("what was done is durable, but could not be printed: {what}");
        self.advised(advice).with_details(json!({ "done": done.document }))
    }

    /// The failure to print what came of something that is done: nobody is to ask for it again.
    pub(crate) fn not_printed(self, done: &Done) -> Failure {
        let (what, message) = (&done.what, &self.message);
        let told = format!("it is done, and durable: {what}; do not ask for it again");
        let failure = Failure::with("not-printed", NOT_PRINTED, format!("{message}, but {told}"));
        failure.with_details(json!({ "done": done.document }))
    }

    /// The failure, with a word on what it is about in front.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds what can be done.
    pub(crate) fn advised(mut self, advice: impl fmt::Display) -> Failure {
        self.message = format!("{}; {advice}", self.message);
        self
    }

    /// Damage, when it is of something that the caller brought and that was never at rest here.
    pub(crate) fn not_ours(mut self) -> Failure {
        if self.exit_code == DAMAGED {
            self.exit_code = FAILED;
        }
        self
    }

    /// The same, when the work was done and durable before: nobody is to do it again.
    pub(crate) fn after_the_work(mut self) -> Failure {
        let message = &self.message;
        self.message = format!("what was to be done is done, but not all closed: {message}");
        self
    }

    /// The failure, with what is wrong in a text that was given.
    fn with_findings(mut self, findings: Vec<Diagnostic>) -> Failure {
        if !findings.is_empty() {
            let told = findings.iter().map(|finding| {
                let place = finding.place.as_ref();
                json!({
                    "line": place.map(|place| place.line),
                    "column": place.map(|place| place.column),
                    "quote": place.map(|place| &place.quote),
                    "message": finding.message,
                })
            });
            self.details.insert("findings".to_string(), told.collect());
        }
        self.findings = findings;
        self
    }

    /// The failure, with what programs are told of it beside.
    pub(crate) fn with_details(mut self, details: Json) -> Failure {
        if let Json::Object(details) = details {
            self.details.extend(details);
        }
        self
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.kind == CLOSED_PIPE
    }

    /// Whether it is of the output, which could not be printed.
    pub(crate) fn is_of_output(&self) -> bool {
        self.is_of_output
    }

    /// What kind of failure it is, as JSON has it.
    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// The failure as JSON.
    pub(crate) fn document(&self) -> Json {
        let mut document = json!({ "kind": self.kind, "message": self.message });
        for (name, detail) in self.details.iter() {
            document[name] = detail.clone();
        }
        document
    }

    /// What went wrong and what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What is wrong in a text, with its lines quoted, behind the first line of the message; none
    /// when the message is all.
    pub(crate) fn lines(&self) -> Option<Vec<String>> {
        if self.findings.iter().all(|finding| finding.place.is_none()) {
            return None;
        }
        let found: Vec<String> = self.findings.iter().map(Diagnostic::to_string).collect();
        let joined = one_line(&found.join("; "));
        let head = self.message.strip_suffix(&*joined).unwrap_or(&self.message).trim_end();
        let mut lines = vec![head.to_string()];
        for (finding, told) in self.findings.iter().zip(&found) {
            lines.push(format!("  {}", one_line(told)));
            let quoted = finding.quoted().into_iter().flatten();
            lines.extend(quoted.map(|line| format!("    {line}")));
        }
        Some(lines)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (kind, exit_code) = match error.kind() {
            ErrorKind::Refused { .. } => ("refused", REFUSED),
            ErrorKind::NotReadable { .. } => ("not-readable", REFUSED),
            ErrorKind::Module(_) => ("module", FAILED),
            ErrorKind::Guard(_) => ("guard", FAILED),
            ErrorKind::Object(error) => of_object(error.kind()),
            ErrorKind::Storage(error) => of_storage(error.kind()),
            ErrorKind::Missing { .. } => ("missing", DAMAGED),
            ErrorKind::NoObject => ("no-object", MISSING),
            ErrorKind::Moved => ("moved", FAILED),
            ErrorKind::NoVersion { .. } => ("no-version", MISSING),
            ErrorKind::NoRefusal { .. } => ("no-refusal", MISSING),
            ErrorKind::Read(_) => ("io", FAILED),
            ErrorKind::Section { .. } => ("capsule", DAMAGED),
            ErrorKind::MailboxFull { .. } => ("mailbox-full", FAILED),
            ErrorKind::MessagesFull { .. } => ("messages-full", FAILED),
            ErrorKind::NotDue { .. } => ("not-due", FAILED),
            ErrorKind::Ahead { .. } => ("ahead", FAILED),
            ErrorKind::NotDurable => ("not-durable", FAILED),
            ErrorKind::LastPolicy => ("last-policy", FAILED),
            ErrorKind::Limit { .. } => ("limit", FAILED),
            ErrorKind::Twice => ("twice", USAGE),
            ErrorKind::NotSigned { .. } => ("not-signed", USAGE),
            ErrorKind::TwoCredentials { .. } => ("two-credentials", USAGE),
            ErrorKind::Substrate(_) => ("substrate", FAILED),
            ErrorKind::Panicked => ("panicked", FAILED),
            ErrorKind::SessionNotHeld { .. } => ("session", FAILED),
            ErrorKind::Replay { .. } => ("replay", DAMAGED),
            ErrorKind::CodeCache { .. } => ("code-cache", FAILED),
            ErrorKind::Closed => ("closed", FAILED),
            _ => ("failed", FAILED),
        };
        let mut message = one_line(&error.to_string());
        message.push_str(&way(&error));
        let failure = Failure::with(kind, exit_code, message).with_findings(findings(error.kind()));
        match error.refusal() {
            Some(verdict) => failure.with_details(refusal(verdict)),
            None => failure,
        }
    }
}

/// The command, or the option, by which to do what a message says.
fn way(error: &Error) -> String {
    let (is_moved, object) = match error.kind() {
        ErrorKind::Ahead { .. } => return " with --ahead".to_string(),
        ErrorKind::Moved => (true, error.object()),
        ErrorKind::Storage(error) => {
            let kind = error.kind();
            (matches!(kind, storage::ErrorKind::HereAlready { moved: true, .. }), error.object())
        }
        _ => (false, None),
    };
    match object.filter(|_| is_moved) {
        Some(id) => format!(": `continuant export {id} --take-back`"),
        None => String::new(),
    }
}

/// Why an input was refused, as JSON.
pub(crate) fn refusal(verdict: &Verdict) -> Json {
    json!({
        "reason": verdict.reason.name(),
        "rules": verdict.rules,
        "detail": verdict.detail,
    })
}

/// Libraries' words, which may run over several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What is wrong in a text, where that is what an error is about.
fn findings(kind: &ErrorKind) -> Vec<Diagnostic> {
    let ErrorKind::Object(error) = kind else { return Vec::new() };
    match error.kind() {
        object::ErrorKind::Policy(found) | object::ErrorKind::Schema(found) => found.clone(),
        _ => Vec::new(),
    }
}

impl From<object::Error> for Failure {
    fn from(error: object::Error) -> Failure {
        Error::from(error).into()
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Failure {
        Error::from(error).into()
    }
}

fn of_object(kind: &object::ErrorKind) -> (&'static str, u8) {
    match kind {
        object::ErrorKind::Decode { .. } => ("damaged", DAMAGED),
        object::ErrorKind::State { .. } => ("state", DAMAGED),
        object::ErrorKind::Mismatch { .. } => ("mismatch", DAMAGED),
        object::ErrorKind::Credential(_) => ("credential", DAMAGED),
        object::ErrorKind::Schema(_) => ("schema", FAILED),
        object::ErrorKind::Policy(_) => ("policy", FAILED),
        object::ErrorKind::Value { .. } => ("value", USAGE),
        object::ErrorKind::Unknown { .. } => ("unknown", USAGE),
        _ => ("limit", FAILED),
    }
}

fn of_storage(kind: &storage::ErrorKind) -> (&'static str, u8) {
    match kind {
        storage::ErrorKind::Io { .. } => ("io", FAILED),
        storage::ErrorKind::Full => ("full", FAILED),
        storage::ErrorKind::NoResources { .. } => ("no-resources", FAILED),
        storage::ErrorKind::LogBehind { .. } => ("log-behind", DAMAGED),
        storage::ErrorKind::Lost(_) => ("lost", DAMAGED),
        storage::ErrorKind::MarkerLost => ("no-marker", DAMAGED),
        storage::ErrorKind::OtherDatabase { .. } => ("other-database", DAMAGED),
        storage::ErrorKind::BackupCut { .. } => ("backup-cut", DAMAGED),
        storage::ErrorKind::NothingThen { .. } => ("nothing", MISSING),
        storage::ErrorKind::Target { .. } => ("target", FAILED),
        storage::ErrorKind::Stopped => ("stopped", FAILED),
        storage::ErrorKind::IsBackup => ("backup", FAILED),
        storage::ErrorKind::Unfinished { .. } => ("unfinished", MISSING),
        storage::ErrorKind::BackupBeyond { .. } => ("backup-beyond", DAMAGED),
        storage::ErrorKind::TimesOutOfOrder(_) => ("times-out-of-order", FAILED),
        storage::ErrorKind::NotABoundary { .. } => ("no-boundary", MISSING),
        storage::ErrorKind::StatesPruned(_) => ("no-state", DAMAGED),
        storage::ErrorKind::Locked => ("locked", FAILED),
        storage::ErrorKind::ReadOnly => ("read-only", FAILED),
        storage::ErrorKind::Poisoned => ("poisoned", FAILED),
        storage::ErrorKind::Closed => ("closed", FAILED),
        storage::ErrorKind::Name { .. } => ("name", USAGE),
        storage::ErrorKind::TooLarge { .. } => ("limit", FAILED),
        storage::ErrorKind::NotADatabase => ("no-database", MISSING),
        storage::ErrorKind::NewerFormat { .. } => ("newer-format", FAILED),
        storage::ErrorKind::Damaged { .. } | storage::ErrorKind::IndexDamaged(_) => {
            ("damaged", DAMAGED)
        }
        storage::ErrorKind::Conflict { .. } => ("conflict", FAILED),
        storage::ErrorKind::Occupied => ("exists", FAILED),
        storage::ErrorKind::HereAlready { .. } => ("here-already", FAILED),
        storage::ErrorKind::Diverged { .. } => ("diverged", FAILED),
        storage::ErrorKind::NotItsBackup { .. } => ("not-its-backup", FAILED),
        storage::ErrorKind::Pruned { .. } => ("pruned", MISSING),
        storage::ErrorKind::NoState { .. } => ("no-state", DAMAGED),
        storage::ErrorKind::NotFound { .. } => ("not-found", MISSING),
        storage::ErrorKind::NameTaken { .. } => ("name-taken", FAILED),
        storage::ErrorKind::NameIsId { .. } => ("name-is-id", FAILED),
        storage::ErrorKind::Capsule { .. } => ("capsule", DAMAGED),
        storage::ErrorKind::Object(error) => of_object(error.kind()),
        _ => ("storage", FAILED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_mistakes_and_ours_are_not_the_substrates() {
        let table = [
            (ErrorKind::NotSigned { what: "nonce" }, "not-signed", USAGE),
            (ErrorKind::TwoCredentials { other: "session" }, "two-credentials", USAGE),
            (ErrorKind::Panicked, "panicked", FAILED),
            (ErrorKind::Substrate("no memory".to_string()), "substrate", FAILED),
        ];
        for (error, kind, exit_code) in table {
            let failure = Failure::from(Error::from(error));
            assert_eq!((failure.kind(), failure.exit_code()), (kind, exit_code));
        }
    }
}
