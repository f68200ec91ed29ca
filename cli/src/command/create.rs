//! `create`: makes an object from a module and a policy.

use std::path::{Path, PathBuf};

use clap::Args;
use continuant::object::limits;
use continuant::schema::{self, code};
use continuant::{Code, ObjectId, Outlook, Time, Value};
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::target::Target;
use crate::{aside, files, moment, typed};

/// Create an object
///
/// The object is made from a WebAssembly module that carries its schema, and from a policy; it
/// keeps both unless its policy permits a change. The database is made if there is none, and the
/// output says so.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The module
    module: PathBuf,

    /// Arguments of the method `create`: JSON values, or bare words typed by the schema; @FILE
    /// stands for a file's content, - for stdin's
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,

    /// The policy: Cedar text. One that permits nothing at all takes --for-good
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,

    /// The policy's guard: a module that must permit each step that the policy permits
    #[arg(long, value_name = "FILE")]
    guard: Option<PathBuf>,

    /// Accept a policy that can never be changed without a note, and one that permits nothing
    #[arg(long)]
    for_good: bool,

    /// A name by which this database knows the object
    #[arg(long)]
    name: Option<String>,

    /// The secret that distinguishes the object from others that are alike in all else, and salts
    /// its hashes: 64 hexadecimal digits. It lets anyone who knows it guess what was erased
    /// [default: random]
    #[arg(long, value_name = "DIGITS", value_parser = parse_secret)]
    secret: Option<Secret>,
}

type Secret = [u8; 32];

impl Create {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let module = read_module(&self.module)?;
        let policy = read_policy(&self.policy)?;
        let guard = self.guard.as_deref().map(read_guard).transpose()?;
        let code = self.code(module, policy).map_err(Failure::not_ours)?;
        let code = match guard {
            Some(guard) => code.guard(guard),
            None => code,
        };
        let outlook = code
            .outlook()
            .map_err(|error| Failure::from(error).not_ours())
            .map_err(|failure| in_file(failure, &self.policy))?;
        if outlook.permitted.is_empty() && !self.for_good {
            let message = "the policy permits nothing at all, so that nothing could ever be done \
                           with the object: add a rule that permits something, or confirm with \
                           --for-good";
            return Err(Failure::new("last-policy", message));
        }
        let made = target.to_be_made();
        target.with_new(|db| {
            let id = db.create(code).map_err(|error| Failure::from(error).not_ours())?;
            let (name, made) = (self.name.as_deref(), made.as_deref());
            created(printer, id, name);
            let time = db.snapshot(id)?.header().time;
            if printer.is_json() {
                let mut document = document(id, name, time, made);
                document["amendable"] = outlook.is_amendable.into();
                document["upgradable"] = outlook.is_upgradable.into();
                document["deletable"] = outlook.is_deletable.into();
                document["dead_rules"] = outlook.dead.into();
                return printer.document(&document);
            }
            print(printer, id, name, time, made)?;
            for note in self.notes(&outlook) {
                aside::note(printer, "policy", &note);
            }
            Ok(())
        })
    }

    /// Returns notes about effects of the policy that may surprise.
    fn notes(&self, outlook: &Outlook) -> Vec<String> {
        let mut notes = Vec::new();
        if !outlook.dead.is_empty() {
            let rules = outlook.dead.join(", ");
            notes.push(format!("rules that can never hold, and are marked @dormant: {rules}"));
        }
        if !self.for_good && !outlook.is_amendable && !outlook.is_upgradable {
            notes.push(
                "no rule permits `amend` or `upgrade`: the object can never be changed; \
                 --for-good confirms that this is meant"
                    .to_string(),
            );
        }
        notes
    }

    fn code(&self, module: Vec<u8>, policy: String) -> Result<Code> {
        let arguments = creation(&module, &typed::given(&self.arguments)?)?;
        let mut code = Code::wasm(module)?.policy(policy).args(arguments);
        if let Some(secret) = self.secret {
            code = code.secret(secret);
        }
        Ok(match &self.name {
            Some(name) => code.name(name),
            None => code,
        })
    }
}

/// The arguments of a module's `create` that words stand for.
pub(super) fn creation(module: &[u8], words: &[String]) -> Result<Vec<Value>> {
    let facts = code::read(module)?;
    let schema = schema::Schema::parse(&facts.schema_text)?;
    let params = schema.create().map_or(&[][..], |create| &create.params);
    typed::arguments(schema::CREATE, words, params)
}

/// The failure, with the file in front where it is about the policy that was in it.
pub(super) fn in_file(failure: Failure, path: &Path) -> Failure {
    match failure.kind() {
        "policy" => failure.about(path.display()),
        _ => failure,
    }
}

/// The bytes of a file that has a module.
pub(super) fn read_module(path: &Path) -> Result<Vec<u8>> {
    files::read_at_most("reading", path, limits::CODE_BYTES_MAX)
}

/// The bytes of a file that has a policy's guard.
pub(super) fn read_guard(path: &Path) -> Result<Vec<u8>> {
    files::read_at_most("reading", path, limits::GUARD_BYTES_MAX)
}

/// A file of Cedar text.
pub(super) fn read_policy(path: &Path) -> Result<String> {
    files::text("reading", path, limits::POLICY_BYTES_MAX)
}

/// Keeps that an object was created, if that cannot be printed.
pub(super) fn created(printer: &mut Printer, id: ObjectId, name: Option<&str>) {
    let called = name.map_or(String::new(), |name| format!(", called {name:?}"));
    let document = json!({ "object": id.to_string(), "name": name });
    printer.done(format!("the object {id}{called}"), document);
}

/// Prints the new object, and the database if that was made for it.
pub(super) fn print(
    printer: &mut Printer,
    id: ObjectId,
    name: Option<&str>,
    time: Time,
    made: Option<&Path>,
) -> Result<()> {
    if printer.is_json() {
        return printer.document(&document(id, name, time, made));
    }
    let mut pairs = vec![("object", id.to_string())];
    pairs.extend(name.map(|name| ("name", name.to_string())));
    pairs.push(("created", time.to_string()));
    pairs.extend(made.map(|made| ("new database", made.display().to_string())));
    printer.pairs(&pairs)
}

fn document(id: ObjectId, name: Option<&str>, time: Time, made: Option<&Path>) -> Json {
    let time = moment::json(time);
    let mut document = json!({ "object": id.to_string(), "name": name, "time": time });
    if let Some(made) = made {
        document["new_database"] = made.display().to_string().into();
    }
    document
}

fn parse_secret(text: &str) -> Result<Secret, String> {
    let secret = blake3::Hash::from_hex(text);
    secret.map(Secret::from).map_err(|_| "expected 64 hexadecimal digits".to_string())
}
