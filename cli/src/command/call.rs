//! `call`: calls a method of an object. It holds the options of every input that may be signed.

use std::path::PathBuf;

use clap::Args;
use continuant::{Receipt, SigningKey, VersionHash};

use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::session::{self, Session};
use crate::{keyfile, moment, receipt, typed};

/// Call a method of an object
///
/// It is done when its version is durable. A wake that was due runs before it.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The object
    object: String,

    /// The method; `show` lists them
    method: String,

    /// Its arguments: JSON values, or bare words typed by the schema
    #[arg(allow_negative_numbers = true)]
    arguments: Vec<String>,

    #[command(flatten)]
    signing: Signing,
}

/// Who asks.
#[derive(Debug, Args)]
pub(super) struct Signing {
    /// Sign with this key; give it again for each further signer
    #[arg(long, value_name = "KEYFILE")]
    sign: Vec<PathBuf>,

    /// The signatures' nonce, above all that the keys used on the object before
    /// [default: microseconds since 1970]
    #[arg(long, value_name = "NUMBER", requires = "sign")]
    nonce: Option<u64>,

    /// When the signatures expire, at most seven days from now [default: in five minutes]
    #[arg(long, value_name = "TIME", value_parser = moment::parse, requires = "sign")]
    expires: Option<u64>,

    /// The only version that the input may follow, by its hash
    #[arg(long, value_name = "HASH", value_parser = parse_version, requires = "sign")]
    parent: Option<VersionHash>,
}

impl Call {
    pub(crate) fn run(self, session: &Session, printer: &mut Printer) -> Result<()> {
        let keys = self.signing.keys()?;
        session.with(|db| {
            let id = session::find(db, &self.object)?;
            let snapshot = db.snapshot(id)?;
            let method = snapshot.definition().schema.require_method(&self.method)?;
            let arguments = typed::arguments(&self.method, &self.arguments, &method.params)?;
            let receipt = self.signing.wait(db.call(id, &self.method, arguments), &keys)?;
            receipt::print(&receipt, printer)
        })
    }
}

impl Signing {
    /// The keys to sign with.
    pub(super) fn keys(&self) -> Result<Vec<SigningKey>> {
        keyfile::read_all(&self.sign)
    }

    /// Signs the input with `keys`, submits it, and waits for what becomes of it.
    pub(super) fn wait<'a>(
        &self,
        call: continuant::Call<'a>,
        keys: &'a [SigningKey],
    ) -> Result<Receipt> {
        self.sign(call, keys).wait().map_err(Failure::from)
    }

    /// Signs the input with `keys`.
    pub(super) fn sign<'a>(
        &self,
        mut call: continuant::Call<'a>,
        keys: &'a [SigningKey],
    ) -> continuant::Call<'a> {
        for key in keys {
            call = call.signed(key);
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
        call
    }
}

fn parse_version(text: &str) -> Result<VersionHash, String> {
    text.parse().map_err(|_| "expected the 64 hexadecimal digits of a version's hash".to_string())
}
