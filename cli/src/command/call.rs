//! `call`: calls a method of an object. It holds the options of every input that may be signed.

use std::path::PathBuf;

use clap::Args;
use continuant::{Database, Receipt, SigningKey, Time, VersionHash};

use crate::failure::Result;
use crate::printer::Printer;
use crate::refused::Asked;
use crate::target::{self, Target};
use crate::{keyfile, moment, number, receipt, typed};

/// Call a method of an object
///
/// The call is done when its version is durable. A wake that was due runs before it.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The object
    object: String,

    /// The method; `show` lists them
    method: String,

    /// The arguments: JSON values, or bare words typed by the schema; @FILE stands for a file's
    /// content, - for stdin's
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    signing: Signing,
}

/// The options that sign an input.
#[derive(Debug, Args)]
pub(super) struct Signing {
    /// Sign with this key; give it again for each further signer
    #[arg(long, value_name = "KEYFILE", group = "who")]
    sign: Vec<PathBuf>,

    /// Put it into this session, which is open on the object, in place of signatures
    #[arg(long, value_name = "SESSIONFILE", group = "who")]
    session: Option<PathBuf>,

    /// The nonce, above all that the keys or the session used on the object before
    /// [default: microseconds since 1970, or one more than the last that they used]
    #[arg(long, value_name = "NUMBER", value_parser = number::parse::<u64>,
          requires = "who")]
    nonce: Option<u64>,

    /// The signatures' expiry, at most seven days from now [default: in five minutes, or in seven
    /// days where many keys sign]
    #[arg(long, value_name = "TIME", value_parser = moment::parse_future, requires = "who")]
    expires: Option<Time>,

    /// The only version that the input may follow, by its hash
    #[arg(long, value_name = "HASH", value_parser = parse_version, requires = "who")]
    parent: Option<VersionHash>,
}

/// The content of the key and session files.
#[derive(Debug)]
pub(super) struct Secrets {
    keys: Vec<SigningKey>,
    session: Option<continuant::Session>,
}

impl Call {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let secrets = self.signing.secrets()?;
        let words = typed::given(&self.arguments)?;
        target.with(|db| {
            let id = target::find(db, &self.object)?;
            let snapshot = db.snapshot(id)?;
            let method = snapshot.definition().schema.require_method(&self.method)?;
            let arguments = typed::arguments(&self.method, &words, &method.params)?;
            let call = db.call(id, &self.method, arguments);
            let asked = Asked { name: &self.object, id, action: &self.method };
            let receipt = self.signing.wait((db, asked), call, &secrets)?;
            receipt::print(&receipt, printer)
        })
    }
}

impl Secrets {
    /// The keys to sign with.
    pub(super) fn keys(&self) -> &[SigningKey] {
        &self.keys
    }
}

impl Signing {
    /// The keys to sign with, or the session.
    pub(super) fn secrets(&self) -> Result<Secrets> {
        let session = self.session.as_deref().map(keyfile::read_session).transpose()?;
        Ok(Secrets { keys: keyfile::read_all(&self.sign)?, session })
    }

    /// Signs the input, submits it, and waits for the outcome.
    pub(super) fn wait<'a>(
        &self,
        (db, asked): (&Database, Asked<'_>),
        call: continuant::Call<'a>,
        secrets: &'a Secrets,
    ) -> Result<Receipt> {
        self.sign(db, call, secrets)?.wait().map_err(|error| asked.failure(db, error))
    }

    /// Signs the input, or puts it into the session, whose secret no database keeps.
    pub(super) fn sign<'a>(
        &self,
        db: &Database,
        mut call: continuant::Call<'a>,
        secrets: &'a Secrets,
    ) -> Result<continuant::Call<'a>> {
        for key in &secrets.keys {
            call = call.signed(key);
        }
        if let Some(session) = &secrets.session {
            db.hold_session(session)?;
            call = call.in_session(session);
        }
        if let Some(nonce) = self.nonce {
            call = call.nonce(nonce);
        }
        if let Some(expires) = self.expires {
            call = call.expires(expires);
        }
        if let Some(parent) = self.parent {
            call = call.parent(parent);
        }
        Ok(call)
    }
}

fn parse_version(text: &str) -> Result<VersionHash, String> {
    text.parse().map_err(|_| "expected the 64 hexadecimal digits of a version's hash".to_string())
}
