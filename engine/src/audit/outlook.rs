//! Outlooks: what a policy can ever permit on an object, computed before the object exists.
//!
//! This module does not know how an object is created.

use policy::Policy;
use policy::definition::Definition;

use crate::commit::code::Code;
use crate::error::Result;
use crate::stack::{DeepStack, on_thread};
use crate::step::catalog::validate_guard;

/// The steps that a policy may permit, as far as its rules alone show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The actions that rules may permit, in the order of the schema: none when the policy permits
    /// nothing at all.
    pub permitted: Vec<String>,
    /// True if some rule may permit an amendment.
    pub is_amendable: bool,
    /// True if some rule may permit an upgrade. If neither, the object's policy and code never
    /// change.
    pub is_upgradable: bool,
    /// True if some rule may permit a deletion.
    pub is_deletable: bool,
    /// Rules that can never hold, and say why they are there all the same; sorted.
    pub dead: Vec<String>,
}

impl Outlook {
    fn of(policy: &Policy) -> Outlook {
        Outlook {
            permitted: policy.permitted().map(str::to_string).collect(),
            is_amendable: policy.is_amendable(),
            is_upgradable: policy.is_upgradable(),
            is_deletable: policy.is_deletable(),
            dead: policy.dead().map(str::to_string).collect(),
        }
    }
}

impl Code {
    /// Returns what the policy may permit on an object created from this code.
    ///
    /// ```
    /// use continuant::Code;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let policy = continuant::samples::COUNTER_POLICY;
    /// let code = Code::wasm(continuant::samples::COUNTER)?.policy(policy);
    /// let outlook = code.outlook()?;
    /// assert_eq!(outlook.permitted, ["increment"]);
    /// assert!(!outlook.is_amendable && !outlook.is_upgradable, "it stays as it is for good");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of a creation when its policy or its guard is invalid for its schema.
    pub fn outlook(&self) -> Result<Outlook> {
        on_thread(|_: DeepStack| {
            let definition = Definition::new(&self.wasm, self.law())?;
            validate_guard(&definition.policy)?;
            Ok(Outlook::of(&definition.policy))
        })?
    }
}
