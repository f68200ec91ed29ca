//! The parts of a new object, as its creator gives them.
//!
//! This module does not know how an object is created.

use std::sync::Arc;

use object::secret::SECRET_BYTES;
use policy::Law;
use schema::Value;

use crate::error::Result;

/// The arguments of a call as a list of values.
///
/// ```
/// use continuant::{Value, args};
/// assert_eq!(args![227u32, "IAH"], vec![Value::from(227u32), Value::from("IAH")]);
/// ```
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::Value::from($value)),*] };
}

/// The parts of a new object: a module, a policy, and the arguments of its `create`.
#[derive(Clone, Debug)]
pub struct Code {
    pub(crate) wasm: Arc<[u8]>,
    pub(crate) policy: String,
    pub(crate) guard: Option<Arc<[u8]>>,
    pub(crate) arguments: Vec<Value>,
    pub(crate) secret: Option<[u8; SECRET_BYTES]>,
    pub(crate) name: Option<String>,
}

impl Code {
    /// A WebAssembly module that carries its schema.
    ///
    /// # Errors
    ///
    /// [`Object`](crate::ErrorKind::Object) when the module is malformed or carries no schema.
    pub fn wasm(bytes: impl Into<Vec<u8>>) -> Result<Code> {
        let wasm: Arc<[u8]> = bytes.into().into();
        schema::code::read(&wasm)?;
        let (policy, guard, arguments) = Default::default();
        Ok(Code { wasm, policy, guard, arguments, secret: None, name: None })
    }

    /// The policy, as Cedar text. Without one the object permits nothing, for ever.
    pub fn policy(mut self, text: impl Into<String>) -> Code {
        self.policy = text.into();
        self
    }

    /// Sets the policy's guard: a WebAssembly module that must permit each step that the policy
    /// permits, for laws that Cedar cannot express; `guest/ABI.md` specifies it.
    pub fn guard(mut self, wasm: impl Into<Vec<u8>>) -> Code {
        self.guard = Some(wasm.into().into());
        self
    }

    /// Returns the sources of its policy.
    pub(crate) fn law(&self) -> Law<'_> {
        Law { text: &self.policy, guard: self.guard.as_deref() }
    }

    /// The arguments of the method `create`.
    pub fn args(mut self, arguments: Vec<Value>) -> Code {
        self.arguments = arguments;
        self
    }

    /// Sets the object's secret, which distinguishes it from others that are alike in everything
    /// else, and salts the hashes of its payloads. It lets anyone who knows it guess what was
    /// erased. Default: random.
    pub fn secret(mut self, secret: [u8; SECRET_BYTES]) -> Code {
        self.secret = Some(secret);
        self
    }

    /// A name by which the database finds the object.
    pub fn name(mut self, name: impl Into<String>) -> Code {
        self.name = Some(name.into());
        self
    }
}
