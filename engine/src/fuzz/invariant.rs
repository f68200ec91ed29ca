//! Invariants of a user: Cedar rules that must never forbid a version, and closures over the
//! versions before and after.
//!
//! The rules are decided on by the functions of the commit path, from the facts that the object's
//! own policy decides on. This module does not know how a version came about.

use std::sync::Arc;

use object::credential::PublicKey;
use object::head::Head;
use object::image::Image;
use object::ledger::{Ledger, Past};
use object::refusal::Reason;
use object::{Diagnostic, ErrorKind};
use policy::admission::{self, Step, admit};
use policy::definition::Definition;
use policy::guard::NotAsked;
use policy::{Decision, Policy};
use query::Snapshot;

use super::report::Break;
use crate::stack::DeepStack;

/// A closure over the versions before and after a step.
pub(super) type Holds = Box<dyn Fn(&Snapshot, &Snapshot) -> bool + Send + Sync>;

/// Rules that must never forbid a step.
pub(super) struct Law {
    /// The object's, with the rules in place of its policy.
    definition: Arc<Definition>,
}

impl Law {
    /// The law of a Cedar text for objects of a definition.
    pub(super) fn parse(_: DeepStack, text: &str, definition: &Definition) -> object::Result<Law> {
        let policy = Policy::parse(text, &definition.schema)?;
        if let Some(id) = policy.permits().next() {
            let form = "state it as forbid(principal, action, resource) unless { ... }";
            let finding = format!("the rule {id} permits: an invariant is a forbid; {form}");
            return Err(ErrorKind::Policy(vec![Diagnostic::whole(finding)]).into());
        }
        Ok(Law { definition: Arc::new(definition.amended(policy)) })
    }

    /// The text of a law that has an expression hold for every step.
    pub(super) fn text(name: &str, expression: &str) -> String {
        let head = format!("@id(\"{name}\")\nforbid(principal, action, resource)\n");
        format!("{head}unless {{\n    {expression}\n}};\n")
    }

    /// The names of its rules.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.definition.policy.rules().map(|(id, _)| id)
    }

    /// Returns whether an admitted step of `signers` breaks it; the rules read `past`, which this
    /// then updates to the past behind the step.
    pub(super) fn judge(
        &self,
        stack: DeepStack,
        head: &Head,
        past: &mut Past,
        signers: &[PublicKey],
        step: &Step<'_, Image, Image>,
    ) -> Option<Break> {
        let mut head = head.clone();
        let nonces = head.ledger.nonces.clone();
        let until = std::mem::take(past);
        head.ledger = Arc::new(Ledger { nonces, past: until, ..Ledger::default() });
        let broken = self.broken(stack, &head, signers, step);
        let (tracked, seq) = (self.definition.policy.tracked(), head.header.seq + 1);
        *past = head.ledger.next(tracked, seq, step.input, signers).past.clone();
        broken
    }

    fn broken(
        &self,
        _: DeepStack,
        head: &Head,
        signers: &[PublicKey],
        step: &Step<'_, Image, Image>,
    ) -> Option<Break> {
        // No rule permits anything: a step that no rule forbids is not permitted, and is fine.
        let (definition, asked) = (&self.definition, signers.to_vec());
        let verdict = admit(definition, head, asked, step.clone(), &mut NotAsked).err()?;
        if verdict.reason == Reason::NotPermitted {
            return None;
        }
        let explained = admission::explain(definition, head, signers, step.clone(), &mut NotAsked);
        let explained = match explained {
            Ok(explained) => explained.policy,
            Err(verdict) => return Some(Break::new("invariants", verdict.to_string())),
        };
        match explained.decision {
            Decision::Refuse { reason, .. } => {
                Some(Break::of_rule(explained.rules.into_iter().next(), &reason))
            }
            Decision::Permit { .. } => None,
        }
    }
}
