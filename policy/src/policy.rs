//! A policy: the rules and the guard that an object carries, ready to decide.
//!
//! It does not know how a step is run, or how its facts came about.

use std::fmt;
use std::sync::Arc;

use object::hash::PolicyHash;
use object::ledger::Tracked;
use object::limits::{POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX};
use object::memory::Memory;
use object::{Diagnostic, ErrorKind, Result, in_text};
use schema::{Most, Schema, Value, code};

use crate::action::{self, Named, Shapes};
use crate::argument::{self, Methods, PastArgument};
use crate::cedar::{self, Rules};
use crate::decision::{Decision, Refusal};
use crate::derived::Derived;
use crate::explain::Explanation;
use crate::facts::{Facts, Values};
use crate::guard::Guard;
use crate::law::{self, Law};
use crate::profile::{self, Scanned};
use crate::program::{Raw, Ruled};
use crate::shape::attribute_name;

/// Bytes of stack that a thread needs to parse, decide or drop any policy within the profile, with
/// or without optimisation. With less, a verdict may differ, or the process end.
pub const STACK_BYTES: usize = 16 << 20;

/// An object's policy, ready to decide.
pub struct Policy {
    text: String,
    language: (u16, u16),
    hash: PolicyHash,
    tracked: Tracked,
    rules: Rules,
    lints: Vec<Diagnostic>,
    guard: Option<Guard>,
}

impl Policy {
    /// Parses the text of `law` and validates it against the part of `schema` that a policy sees.
    /// Whether its guard is a module is left to the host that runs guards.
    ///
    /// # Errors
    ///
    /// `Policy`: all faults in the text, found by the first of these that finds any: the profile,
    /// Cedar's parser, the rules' ids, Cedar's strict validation, and then as of
    /// [`Policy::validate`]. `Decode`, as of [`Guard::new`].
    pub fn parse<'a>(law: impl Into<Law<'a>>, schema: &Schema) -> Result<Policy> {
        let policy = Policy::build(law.into(), cedar::language_version(), schema)?;
        policy.validate()?;
        Ok(policy)
    }

    /// Validates that the policy may come in, as an object's first or its next: each of its rules
    /// can hold; each text that a rule compares with a key, an id, a hash or a word is one; and no
    /// rule that keeps a key out is evaded by a second signature. `policy/POLICY.md` lists the
    /// checks.
    ///
    /// A policy on record is never held to this: decisions taken by it stay valid.
    ///
    /// # Errors
    ///
    /// `Policy`: all findings.
    pub fn validate(&self) -> Result<()> {
        match &self.lints[..] {
            [] => Ok(()),
            lints => Err(ErrorKind::Policy(lints.to_vec()).into()),
        }
    }

    fn build(law: Law<'_>, language: (u16, u16), schema: &Schema) -> Result<Policy> {
        let (text, guard) = (law.text, law.guard.map(Guard::new).transpose()?);
        let wrong = |findings| ErrorKind::Policy(in_text(findings, text));
        let scanned = profile::scan(text).map_err(wrong)?;
        let tracked = tracked_versions(&scanned);
        let shapes = Shapes::new(schema, scanned.named);
        let shapes = shapes.map_err(|finding| ErrorKind::Policy(vec![finding]))?;
        let tracked = tracked_arguments(tracked, schema, &shapes.figures);
        let rules = Rules::parse(text, &scanned.rules, shapes, schema);
        let rules = rules.map_err(wrong)?;
        let lints = in_text(rules.lints().to_vec(), text);
        let hash = PolicyHash::of(&law.encode_in(language));
        let text = text.to_string();
        Ok(Policy { text, language, hash, tracked, rules, lints, guard })
    }

    /// The hash that the policy of `law` has, whether or not it is valid.
    pub fn hash_of<'a>(law: impl Into<Law<'a>>) -> PolicyHash {
        PolicyHash::of(&law.into().encode())
    }

    /// Returns the sources of the policy, as they were given.
    pub fn law(&self) -> Law<'_> {
        Law { text: &self.text, guard: self.guard.as_ref().map(Guard::wasm) }
    }

    /// The guard that must permit as well, if it carries one.
    pub fn guard(&self) -> Option<&Guard> {
        self.guard.as_ref()
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The hash of the encoding.
    pub fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// The encoding; `object/FORMAT.md` has its layout.
    pub fn encode(&self) -> Vec<u8> {
        self.law().encode_in(self.language)
    }

    /// Reads an encoding on record: as [`Policy::parse`] does, but without [`Policy::validate`].
    ///
    /// # Errors
    ///
    /// `Decode`: the bytes are not an encoding, or of a later version of the language.
    /// `Policy`: as of [`Policy::parse`].
    pub fn decode(bytes: &[u8], schema: &Schema) -> Result<Policy> {
        let (law, language) = law::decode(bytes)?;
        Policy::build(law, language, schema)
    }

    /// Returns the part of the past that the policy of this encoding reads. It scans the text, and
    /// needs the module, which `wasm` returns, only if the text asks for past arguments.
    ///
    /// # Errors
    ///
    /// `Decode`, as of [`Policy::decode`]; `Policy`: the text is outside of the profile. Those of
    /// [`code::read`] and [`Schema::parse`], and of `wasm`.
    pub fn tracked_by<E: From<object::Error>>(
        bytes: &[u8],
        wasm: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Tracked, E> {
        let (law, _) = law::decode(bytes)?;
        let wrong = |found| object::Error::from(ErrorKind::Policy(in_text(found, law.text)));
        let scanned = profile::scan(law.text).map_err(wrong)?;
        let (tracked, mentions) = (tracked_versions(&scanned), scanned.named.mentions);
        if mentions.iter().all(|mention| mention.asked().is_none()) {
            return Ok(tracked);
        }
        let schema = Schema::parse(&code::read(&wasm()?)?.schema_text)?;
        let figures = mentions.iter().filter_map(|it| PastArgument::of(&schema, it));
        let figures: Vec<PastArgument> = figures.collect();
        Ok(tracked_arguments(tracked, &schema, &figures))
    }

    /// Reads the states before and after a step, as far as the rules on `action` read them: other
    /// fields are `none`, and values longer than rules may read are cut to a length just beyond
    /// that limit.
    pub(crate) fn read_states(
        &self,
        schema: &Schema,
        action: &str,
        (before, after): (&(impl Memory + ?Sized), &(impl Memory + ?Sized)),
        address: u32,
    ) -> Result<(Value, Value)> {
        let most =
            Most { items: POLICY_SET_ITEMS_MAX as u32, text_bytes: POLICY_TEXT_BYTES_MAX as u32 };
        let [first, second] = self.rules.selections(action);
        let before = schema.excerpt(before, address, &first, most)?;
        Ok((before, schema.excerpt(after, address, &second, most)?))
    }

    /// Decides on the step of `facts` and `values` by Cedar itself.
    ///
    /// Its time and memory are bounded by the limits named `POLICY_*` in
    /// [`limits`](object::limits).
    pub fn decide(&self, facts: &Facts<'_>, values: &Values<'_>) -> Decision {
        self.rules.decide(facts, values)
    }

    /// Takes the same decision by the compiled rules, on states and arguments in place. Returns
    /// none when they cannot decide: the action is [`uncompiled`](Policy::uncompiled), a value is
    /// beyond what a policy may read, or a rule cannot be evaluated. Allocates nothing.
    pub fn decide_raw(&self, facts: &Facts<'_>, raw: &Raw<'_>) -> Option<Ruling<'_>> {
        let ruled = self.rules.program(facts.action)?.run(facts, raw)?;
        Some(Ruling { ids: self.rules.ids(), ruled })
    }

    /// Explains `decision`, which was taken on `facts` and `values`.
    pub(crate) fn explain(
        &self,
        facts: &Facts<'_>,
        values: &Values<'_>,
        decision: Decision,
    ) -> Explanation {
        let rules = self.rules.explain(&self.text, facts, values, &decision);
        let is_silent = matches!(&decision, Decision::Refuse { reason: Refusal::NotPermitted, .. });
        let permitted =
            (is_silent && rules.is_empty()).then(|| self.permitted().map(str::to_string).collect());
        Explanation { principal: facts.principal, decision, rules, permitted }
    }

    /// Returns the part of the past that the rules read, and the keys that they name.
    pub fn tracked(&self) -> &Tracked {
        &self.tracked
    }

    /// The ids of all rules, each with whether it is a `permit`, not a `forbid`; sorted.
    pub fn rules(&self) -> impl Iterator<Item = (&str, bool)> {
        self.rules.stated()
    }

    /// The ids of the rules that permit something, sorted.
    pub fn permits(&self) -> impl Iterator<Item = &str> {
        self.rules.stated().filter(|(_, permits)| *permits).map(|(id, _)| id)
    }

    /// Returns the ids of the rules that can never hold, on any step, as far as the rules alone
    /// show; sorted.
    pub fn dead(&self) -> impl Iterator<Item = &str> {
        self.rules.dead()
    }

    /// Returns the actions of which some step may be permitted, in the order of the schema.
    pub fn permitted(&self) -> impl Iterator<Item = &str> {
        self.rules.permitted()
    }

    /// Returns whether some rule may permit an amendment, and none forbids it always.
    pub fn is_amendable(&self) -> bool {
        self.rules.may_permit(action::AMEND)
    }

    /// Returns whether some rule may permit an upgrade, and none forbids it always.
    pub fn is_upgradable(&self) -> bool {
        self.rules.may_permit(action::UPGRADE)
    }

    /// Returns whether some rule may permit a deletion, and none forbids it always.
    pub fn is_deletable(&self) -> bool {
        self.rules.may_permit(action::DELETE)
    }

    /// Returns whether the policy may ever be changed: by an amendment, or with other code.
    pub fn is_changeable(&self) -> bool {
        self.is_amendable() || self.is_upgradable()
    }

    /// Returns the actions whose rules are not compiled, so that Cedar decides on all their steps,
    /// each with the uncompiled construct. In no order.
    pub fn uncompiled(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.rules.uncompiled()
    }
}

/// A decision of compiled rules.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    ids: &'a [String],
    ruled: Ruled,
}

impl<'a> Ruling<'a> {
    /// Returns whether the step is admitted.
    pub fn permits(&self) -> bool {
        self.ruled.permits
    }

    /// Returns the ids of the rules behind the decision, sorted: those of a [`Decision`].
    pub fn rules(&self) -> impl Iterator<Item = &'a str> {
        let bits = self.ruled.rules;
        let named = self.ids.iter().enumerate();
        let decided = named.filter(move |(index, _)| bits[index / 64] >> (index % 64) & 1 == 1);
        decided.map(|(_, id)| id.as_str())
    }
}

impl From<Ruling<'_>> for Decision {
    fn from(ruling: Ruling<'_>) -> Decision {
        let rules: Vec<String> = ruling.rules().map(str::to_string).collect();
        let reason = match rules.is_empty() {
            true => Refusal::NotPermitted,
            false => Refusal::Forbidden,
        };
        let is_named = !ruling.permits() || !rules.is_empty();
        debug_assert!(is_named, "a permit is given by a rule");
        match ruling.permits() {
            true => Decision::Permit { rules },
            false => Decision::Refuse { rules, reason },
        }
    }
}

/// Returns the actions that stand behind `past`, and the keys that are named. An action's name has
/// `-` in WIT where it has `_` in Cedar.
fn tracked_versions(scanned: &Scanned) -> Tracked {
    let actions = scanned.named.past.iter().map(|name| name.replace('_', "-"));
    Tracked::new(actions, scanned.has_windows).naming(scanned.keys.iter().copied())
}

/// Adds the arguments that figures are of.
fn tracked_arguments(tracked: Tracked, schema: &Schema, figures: &[PastArgument]) -> Tracked {
    let methods = Arc::new(Methods::of(schema, figures));
    tracked.reading(argument::tracked(figures), methods)
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("hash", &self.hash).field("text", &self.text).finish()
    }
}

/// The Cedar schema that policies of objects with this schema are validated against, as text. A
/// policy need not be held against those parts of the past that it does not name.
///
/// # Errors
///
/// `Policy`: the schema has more for a policy to see than a validator should be asked to hold.
pub fn derived_schema(schema: &Schema) -> Result<String> {
    let methods = schema.methods().iter().map(|method| method.name.as_str());
    let own = action::OWN_ACTIONS.into_iter().chain([action::UPGRADE]);
    let past = methods.chain(own).map(attribute_name).collect();
    let figures = schema.methods().iter().flat_map(|it| PastArgument::all(schema, it));
    let mentions = figures.map(PastArgument::mention).collect();
    let actions = action::IF_NAMED.to_vec();
    let shapes = Shapes::new(schema, Named { past, mentions, actions });
    let shapes = shapes.map_err(|finding| ErrorKind::Policy(vec![finding]))?;
    Ok(Derived::whole(&shapes).print())
}
