//! What can ever become of an object under a policy, before there is one: what an object is made of
//! is asked, and nothing is made.
//!
//! It does not know how an object is created.

use policy::Policy;
use policy::definition::Definition;

use crate::commit::code::Code;
use crate::error::Result;
use crate::stack::{DeepStack, on_thread};
use crate::step::catalog::validate_guard;

/// What a policy lets be done, as far as can be told from its rules alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The actions that rules may permit, in the order of the schema: none when the policy permits
    /// nothing at all.
    pub permitted: Vec<String>,
    /// Whether any rule may permit another policy.
    pub is_amendable: bool,
    /// Whether any rule may permit other code. If neither, the object stays as it is made for good.
    pub is_upgradable: bool,
    /// Rules that can never hold, and say why they are there all the same; sorted.
    pub dead: Vec<String>,
}

impl Outlook {
    fn of(policy: &Policy) -> Outlook {
        Outlook {
            permitted: policy.permitted().map(str::to_string).collect(),
            is_amendable: policy.is_amendable(),
            is_upgradable: policy.is_upgradable(),
            dead: policy.dead().map(str::to_string).collect(),
        }
    }
}

impl Code {
    /// What its policy would let be done with an object that is made of it.
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
    /// Those of a creation when its policy or its guard is none for its schema.
    pub fn outlook(&self) -> Result<Outlook> {
        on_thread(|_: DeepStack| {
            let definition = Definition::new(&self.wasm, self.law())?;
            validate_guard(&definition.policy)?;
            Ok(Outlook::of(&definition.policy))
        })?
    }
}
