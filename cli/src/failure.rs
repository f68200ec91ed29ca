//! The error of the command line: a kind for programs, a sentence for people, an exit code.
//!
//! It does not print. Names of kinds are the engine's; it says which class of kinds ends in which
//! exit code.
//!
//! Invariant: a message says what was expected, or what to do; it is printed as one line. The
//! faults of a text follow it, each with its line quoted.

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

/// The failure of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    exit_code: u8,
    message: String,
    /// Further details for programs.
    details: Box<Map<String, Json>>,
    /// The faults in a given text; the message has all of them as well.
    findings: Vec<Diagnostic>,
    /// True if the output could not be printed.
    is_of_output: bool,
}

/// The durable work of a command, for the case that its receipt cannot be printed.
#[derive(Debug)]
pub(crate) struct Done {
    /// The durable result, in words that follow "it is done, and durable: ".
    pub(crate) what: String,
    /// The same, for programs.
    pub(crate) document: Json,
}

/// The kind of the failure to print, because the reader has closed the pipe.
const CLOSED_PIPE: &str = "closed-pipe";

impl Failure {
    fn with(kind: &'static str, exit_code: u8, message: impl Into<String>) -> Failure {
        assert_ne!(exit_code, 0, "a failure is told from success by its exit code");
        let is_kebab = kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        debug_assert!(is_kebab, "a kind is a word that scripts compare: {kind}");
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

    /// Returns the failure of a command that a signal stopped.
    pub(crate) fn stopped(signal: i32, done: impl fmt::Display) -> Failure {
        let message = format!("stopped by {}: {done}", stop::name(signal));
        Failure::with("stopped", stop::code(signal), message)
    }

    /// Returns the failure of an error; if work stopped in order because of a signal, the failure
    /// says so, with the work done.
    pub(crate) fn unless_stopped(error: Error, done: impl fmt::Display) -> Failure {
        match stop::asked() {
            Some(signal) if is_stopped(&error) => Failure::stopped(signal, done),
            _ => error.into(),
        }
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
        let message = "the work is done and durable, but its result could not be printed";
        let advice = format!("{message}: {}", done.what);
        self.advised(advice).with_details(json!({ "done": done.document }))
    }

    /// Returns the failure to print the receipt of durable work: nobody must ask for it again.
    pub(crate) fn not_printed(self, done: &Done) -> Failure {
        let (what, message) = (&done.what, &self.message);
        let text = format!("the work is done and durable: {what}; do not repeat it");
        let failure = Failure::with("not-printed", NOT_PRINTED, format!("{message}, but {text}"));
        failure.with_details(json!({ "done": done.document }))
    }

    /// Puts the subject in front of the message.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds advice to the message.
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

    /// Adds the faults of a given text.
    fn with_findings(mut self, findings: Vec<Diagnostic>) -> Failure {
        if !findings.is_empty() {
            let text = findings.iter().map(|finding| {
                let place = finding.place.as_ref();
                json!({
                    "line": place.map(|place| place.line),
                    "column": place.map(|place| place.column),
                    "quote": place.map(|place| &place.quote),
                    "message": finding.message,
                })
            });
            self.details.insert("findings".to_string(), text.collect());
        }
        self.findings = findings;
        self
    }

    /// Adds further details for programs.
    pub(crate) fn with_details(mut self, details: Json) -> Failure {
        if let Json::Object(details) = details {
            let hides = ["kind", "message"].iter().any(|name| details.contains_key(*name));
            debug_assert!(!hides, "a detail does not stand in place of the failure");
            self.details.extend(details);
        }
        self
    }

    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.kind == CLOSED_PIPE
    }

    /// Returns whether the output could not be printed.
    pub(crate) fn is_of_output(&self) -> bool {
        self.is_of_output
    }

    /// Returns the kind of failure, as in JSON.
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

    /// Returns the cause and what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the faults of a text, with its lines quoted, behind the first line of the message;
    /// none when the message is complete.
    pub(crate) fn lines(&self) -> Option<Vec<String>> {
        if self.findings.iter().all(|finding| finding.place.is_none()) {
            return None;
        }
        let found: Vec<String> = self.findings.iter().map(Diagnostic::to_string).collect();
        let joined = one_line(&found.join("; "));
        let head = self.message.strip_suffix(&*joined).unwrap_or(&self.message).trim_end();
        let mut lines = vec![head.to_string()];
        for (finding, text) in self.findings.iter().zip(&found) {
            lines.push(format!("  {}", one_line(text)));
            let quoted = finding.quoted().into_iter().flatten();
            lines.extend(quoted.map(|line| format!("    {line}")));
        }
        Some(lines)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// Returns whether work stopped in order.
pub(crate) fn is_stopped(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Storage(error) => *error.kind() == storage::ErrorKind::Stopped,
        _ => false,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let mut message = one_line(&error.to_string());
        message.push_str(&way(&error));
        let failure = Failure::with(error.kind().name(), exit_code(&error), message);
        let failure = failure.with_findings(findings(error.kind()));
        match error.refusal() {
            Some(verdict) => failure.with_details(refusal(verdict)),
            None => failure,
        }
    }
}

/// The code that a command ends with over an error.
fn exit_code(error: &Error) -> u8 {
    if error.is_refused() {
        REFUSED
    } else if error.is_damaged() {
        DAMAGED
    } else if error.is_not_found() {
        MISSING
    } else if error.is_invalid_argument() {
        USAGE
    } else {
        FAILED
    }
}

/// The command, or the option, by which to do what a message says.
fn way(error: &Error) -> String {
    let (is_moved, object) = match error.kind() {
        ErrorKind::Ahead { .. } => return " with --ahead".to_string(),
        ErrorKind::NoObject => return "; `continuant list` shows the objects".to_string(),
        ErrorKind::Missing { .. } => return ": run `continuant check`".to_string(),
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

/// Returns a refusal as JSON.
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

/// Returns the faults of a text, if the error is about one.
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

#[cfg(test)]
mod tests {
    use continuant::Time;
    use continuant::object::refusal::Reason;

    use super::*;

    /// A kind of error, its name, and the exit code.
    type Row<K> = (K, &'static str, u8);

    fn text() -> String {
        String::new()
    }

    /// Every kind of the engine but those of modules, which cannot be made here.
    fn of_engine() -> Vec<Row<ErrorKind>> {
        use ErrorKind as Kind;
        let what = "x";
        let session = continuant::SessionId([1; 32]);
        let verdict = || Verdict { reason: Reason::Trap, rules: Vec::new(), detail: text() };
        vec![
            (Kind::Refused { verdict: verdict(), recorded: true }, "refused", 3),
            (Kind::NotReadable { field: text(), verdict: verdict() }, "not-readable", 3),
            (Kind::Missing { what, hash: text() }, "missing", 4),
            (Kind::NoObject, "no-object", 5),
            (Kind::Moved, "moved", 1),
            (Kind::Deleted { at: Time::MIN }, "deleted", 1),
            (Kind::NoVersion { asked: text(), newest: 1 }, "no-version", 5),
            (Kind::NoRefusal { asked: 1, count: 0 }, "no-refusal", 5),
            (Kind::Read(text()), "io", 1),
            (Kind::Section { expected: text(), found: text() }, "capsule", 4),
            (Kind::MailboxFull { max: 1 }, "mailbox-full", 1),
            (Kind::MessagesFull { max: 1 }, "messages-full", 1),
            (Kind::NotDue { wake: None }, "not-due", 1),
            (
                Kind::Ahead { by: std::time::Duration::MAX, max: std::time::Duration::ZERO },
                "ahead",
                1,
            ),
            (Kind::NotDurable, "not-durable", 1),
            (Kind::LastPolicy, "last-policy", 1),
            (Kind::Limit { what, max: 1, found: 2 }, "limit", 1),
            (Kind::Twice, "twice", 2),
            (Kind::NotSigned { what }, "not-signed", 2),
            (Kind::TwoCredentials { other: what }, "two-credentials", 2),
            (Kind::Substrate(text()), "substrate", 1),
            (Kind::Panicked, "panicked", 1),
            (Kind::SessionNotHeld { session }, "session", 1),
            (Kind::Replay { what, seq: 1, expected: text(), found: text() }, "replay", 4),
            (Kind::CodeCache { directory: "x".into(), problem: text() }, "code-cache", 1),
            (Kind::Closed, "closed", 1),
        ]
    }

    /// Every kind of the object crate.
    fn of_object() -> Vec<Row<object::ErrorKind>> {
        use object::ErrorKind as Object;
        let what = "x";
        vec![
            (Object::Decode { what, offset: 0, expected: text(), found: text() }, "damaged", 4),
            (Object::State { path: text(), expected: text(), found: text() }, "state", 4),
            (Object::Mismatch { what, seq: 1, expected: text(), found: text() }, "mismatch", 4),
            (Object::Credential(text()), "credential", 4),
            (
                Object::UnknownAlgorithm { what, offset: 0, known: 1, code: 2 },
                "unknown-algorithm",
                1,
            ),
            (Object::Schema(Vec::new()), "schema", 1),
            (Object::Policy(Vec::new()), "policy", 1),
            (Object::Value { path: text(), expected: text(), found: text() }, "value", 2),
            (Object::Unknown { what, name: text(), known: Vec::new() }, "unknown", 2),
            (Object::Limit { what, max: 1, found: 2 }, "limit", 1),
        ]
    }

    /// Kinds of the store, all that can be made here.
    fn of_storage() -> Vec<Row<storage::ErrorKind>> {
        use object::ErrorKind as Object;
        use storage::ErrorKind as Stored;
        let what = "x";
        vec![
            (Stored::Io { operation: what }, "io", 1),
            (Stored::Full, "full", 1),
            (Stored::NoResources { operation: what }, "no-resources", 1),
            (Stored::Target { operation: what }, "target", 1),
            (Stored::Stopped, "stopped", 1),
            (Stored::Locked, "locked", 1),
            (Stored::Removed, "removed", 4),
            (Stored::ReadOnly, "read-only", 1),
            (Stored::Poisoned, "poisoned", 1),
            (Stored::Closed, "closed", 1),
            (Stored::UncleanClose, "unclean-close", 1),
            (Stored::NotADatabase, "no-database", 5),
            (Stored::IsBackup, "backup", 1),
            (Stored::Unfinished { is_backup: true }, "unfinished", 5),
            (Stored::Occupied, "exists", 1),
            (Stored::NotItsBackup { found: text() }, "not-its-backup", 1),
            (Stored::OldFormat { found: 1 }, "old-format", 1),
            (Stored::NewerFormat { found: 3, supported: 2 }, "newer-format", 1),
            (Stored::IndexDamaged(text()), "damaged", 4),
            (Stored::MarkerLost { is_backup: true }, "no-marker", 4),
            (Stored::OtherDatabase { file: text() }, "other-database", 4),
            (Stored::NothingThen { first: None }, "nothing", 5),
            (Stored::Conflict { expected: text(), found: text() }, "conflict", 1),
            (Stored::Moved, "moved", 1),
            (Stored::Deleted { at: Time::MIN }, "deleted", 1),
            (Stored::HereAlready { seq: 1, found: 1, moved: false }, "here-already", 1),
            (Stored::Diverged { seq: 1, here: text(), there: text() }, "diverged", 1),
            (Stored::Pruned { seq: 0, kept_from: 1 }, "pruned", 5),
            (Stored::NoState { seq: 0, kept_from: 1 }, "no-state", 4),
            (Stored::NotFound { what, name: text() }, "not-found", 5),
            (Stored::Name { found: text() }, "name", 2),
            (Stored::NameIsId { name: text(), other: None }, "name-is-id", 1),
            (Stored::TooLarge { found: 2, max: 1 }, "limit", 1),
            (Stored::Capsule { offset: 0, expected: text(), found: text() }, "capsule", 4),
            (Stored::Object(Object::Credential(text()).into()), "credential", 4),
            (Stored::Object(Object::Policy(Vec::new()).into()), "policy", 1),
        ]
    }

    fn table() -> Vec<Row<Error>> {
        let object = of_object()
            .into_iter()
            .map(|(kind, name, code)| (Error::from(object::Error::from(kind)), name, code));
        let stored = of_storage()
            .into_iter()
            .map(|(kind, name, code)| (Error::from(storage::Error::from(kind)), name, code));
        let engine = of_engine().into_iter();
        let engine = engine.map(|(kind, name, code)| (Error::from(kind), name, code));
        engine.chain(object).chain(stored).collect()
    }

    #[test]
    fn every_kind_has_its_name_and_exit_code() {
        for (error, kind, exit_code) in table() {
            let failure = Failure::from(error);
            assert_eq!((failure.kind(), failure.exit_code()), (kind, exit_code));
            assert_eq!(failure.document()["kind"], kind);
        }
    }

    #[test]
    fn an_error_names_the_command_that_helps() {
        let told = |kind: ErrorKind| Failure::from(Error::from(kind)).message().to_string();
        assert!(told(ErrorKind::NoObject).ends_with("; `continuant list` shows the objects"));
        let missing = ErrorKind::Missing { what: "code", hash: "0".to_string() };
        assert!(told(missing).ends_with("is not in the store: run `continuant check`"));
    }
}
