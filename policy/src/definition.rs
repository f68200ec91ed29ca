//! The definition of an object, without its memory: its code, the schema in the code, and its
//! policy.
//!
//! All objects of the same code and policy share one definition. It does not know how code runs.

use object::Result;
use object::head::Parts;
use schema::Schema;
use schema::code::{self, CodeFacts};

use crate::law::Law;
use crate::policy::Policy;

/// The code's facts, its schema, and the policy, validated against each other.
#[derive(Debug)]
pub struct Definition {
    /// The facts that the module carries.
    pub code: CodeFacts,
    /// The schema that the module carries.
    pub schema: Schema,
    /// The policy.
    pub policy: Policy,
}

impl Definition {
    /// Builds the definition from a module and the sources of its policy.
    ///
    /// # Errors
    ///
    /// Those of [`code::read`], [`Schema::parse`] and [`Policy::parse`].
    pub fn new<'a>(wasm: &[u8], law: impl Into<Law<'a>>) -> Result<Definition> {
        let code = code::read(wasm)?;
        let schema = Schema::parse(&code.schema_text)?;
        let policy = Policy::parse(law, &schema)?;
        Ok(Definition { code, schema, policy })
    }

    /// Builds the definition from a module and an encoded policy.
    ///
    /// # Errors
    ///
    /// Those of [`code::read`], [`Schema::parse`] and [`Policy::decode`].
    pub fn decode(wasm: &[u8], policy: &[u8]) -> Result<Definition> {
        let code = code::read(wasm)?;
        let schema = Schema::parse(&code.schema_text)?;
        let policy = Policy::decode(policy, &schema)?;
        Ok(Definition { code, schema, policy })
    }

    /// The definition with another policy, which is one for its schema.
    pub fn amended(&self, policy: Policy) -> Definition {
        Definition { code: self.code.clone(), schema: self.schema.clone(), policy }
    }

    /// The hashes that a header names.
    pub fn parts(&self) -> Parts {
        Parts { code: self.code.hash, schema: self.schema.hash(), policy: self.policy.hash() }
    }
}
