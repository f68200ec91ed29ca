//! The sources of a policy, and their bytes.
//!
//! This module does not know whether the text is valid rules, nor whether the guard is a module.

use object::Result;
use object::codec::{Reader, Write};
use object::limits::{GUARD_BYTES_MAX, POLICY_BYTES_MAX};

use crate::cedar;

const VERSION: u8 = 2;

/// The sources of a policy: Cedar text and, optionally, the module of a guard.
///
/// ```
/// use continuant_policy::Law;
///
/// let rules = Law::from("permit(principal, action, resource);");
/// let guarded = Law { guard: Some(b"\0asm..."), ..rules };
/// # assert_ne!(rules, guarded);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Law<'a> {
    /// The rules, as Cedar text.
    pub text: &'a str,
    /// The guard's module.
    pub guard: Option<&'a [u8]>,
}

impl<'a> Law<'a> {
    /// Returns the same rules with this guard beside them.
    pub fn guard(self, wasm: &'a [u8]) -> Law<'a> {
        Law { guard: Some(wasm), ..self }
    }

    /// Encodes the policy of these sources, whether or not it is valid, in the language's present
    /// version; `object/FORMAT.md` has the layout.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_in(cedar::language_version())
    }

    pub(crate) fn encode_in(&self, language: (u16, u16)) -> Vec<u8> {
        let guard_bytes = self.guard.map_or(0, <[u8]>::len);
        let mut bytes = Vec::with_capacity(self.text.len() + guard_bytes + 12);
        bytes.put_u8(VERSION).put_u16(language.0).put_u16(language.1);
        bytes.put_blob(self.text.as_bytes()).put_u8(u8::from(self.guard.is_some()));
        if let Some(guard) = self.guard {
            bytes.put_blob(guard);
        }
        bytes
    }
}

impl<'a> From<&'a str> for Law<'a> {
    fn from(text: &'a str) -> Law<'a> {
        Law { text, guard: None }
    }
}

impl<'a> From<&'a String> for Law<'a> {
    fn from(text: &'a String) -> Law<'a> {
        text.as_str().into()
    }
}

/// Reads an encoding: the sources of the policy, and the version of its language.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Law<'_>, (u16, u16))> {
    let mut reader = Reader::new("policy", bytes);
    reader.version(VERSION)?;
    let language = (reader.u16()?, reader.u16()?);
    let known = cedar::language_version();
    if language.0 != known.0 || language.1 > known.1 {
        let expected = format!("Cedar {}.0 to {}.{}", known.0, known.0, known.1);
        return Err(reader.fail(4, &expected, format!("{}.{}", language.0, language.1)));
    }
    let text = reader.text(POLICY_BYTES_MAX)?;
    let guard = reader.flag()?.then(|| reader.blob(GUARD_BYTES_MAX)).transpose()?;
    reader.end()?;
    Ok((Law { text, guard }, language))
}
