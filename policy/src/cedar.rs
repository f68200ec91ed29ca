//! The one place that knows the crate `cedar_policy`: it parses, validates and compiles rules, lets
//! Cedar's own authorizer decide, and explains its decisions.
//!
//! The given text is within the profile; this module does not check that again. The profile keeps
//! out Cedar's extension types (decimal, ip, datetime): they are built in even without the crate's
//! default features, because its formatter asks for them.
//!
//! Invariant: parsed rules are valid, strictly, for the derived schema; every rule has an id of its
//! own.

mod compile;
mod context;
mod contradiction;
mod explain;
mod lint;
mod reads;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::str::FromStr;

use cedar_policy::ffi::DetailedError;
use cedar_policy::pst;
use cedar_policy::{
    AuthorizationError, Authorizer, Entities, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, ValidationMode, ValidationWarning, Validator,
};
use object::{Diagnostic, printable};
use schema::{Schema, Selection};

use self::compile::Uncompiled;
use self::context::{Plan, hex};
use self::contradiction::contradicts;
use self::reads::Reads;
use crate::action::{IF_NAMED, NAMED_ONLY, Shapes};
use crate::decision::{Decision, Refusal};
use crate::derived::Derived;
use crate::facts::{Facts, Principal, Values};
use crate::profile::{FINDINGS_MAX, unknown_escape};
use crate::program::{Program, Rule};

/// Rules ready to decide.
#[derive(Debug)]
pub(super) struct Rules {
    set: PolicySet,
    /// The rules' ids, sorted; programs name a rule by its index here.
    ids: Vec<String>,
    /// The rules as they are stated, in the order of the ids.
    stated: Vec<Stated>,
    /// The indices of rules that can never hold, as far as the rules alone show.
    never: BTreeSet<usize>,
    /// The findings for which a new policy is rejected.
    lints: Vec<Diagnostic>,
    /// The actions by name.
    actions: HashMap<String, Action>,
    shapes: Shapes,
    types: Types,
    authorizer: Authorizer,
    entities: Entities,
}

/// One action of the policy, and the means to evaluate its rules.
#[derive(Debug)]
struct Action {
    entity: EntityUid,
    /// The plan by which its contexts are built.
    plan: Plan,
    program: Result<Program, Uncompiled>,
    /// The rules that may apply to it, by their places among the ids.
    applying: Vec<usize>,
    /// The rules that decide on it, where those without an action are not all among them.
    set: Option<PolicySet>,
}

impl Action {
    /// Returns whether a rule may hold: one that cannot is in no program.
    fn may_hold(&self, rule: usize) -> bool {
        match &self.program {
            Ok(program) => program.rules.iter().any(|compiled| compiled.id == rule),
            Err(_) => self.applying.contains(&rule),
        }
    }
}

/// A rule as the text states it.
#[derive(Debug)]
struct Stated {
    span: Range<usize>,
    permits: bool,
    reads: Reads,
}

/// Names of the entity types of the derived schema.
#[derive(Debug)]
struct Types {
    key: EntityTypeName,
    anonymous: EntityTypeName,
    object: EntityTypeName,
    action: EntityTypeName,
}

/// Version of the language that the rules are in, major and minor.
pub(super) fn language_version() -> (u16, u16) {
    let version = cedar_policy::get_lang_version();
    let part = |part: u64| u16::try_from(part).expect("a version's part is a small number");
    (part(version.major), part(version.minor))
}

impl Rules {
    /// Parses, validates and compiles `text`, whose rules stand at `spans`.
    pub(super) fn parse(
        text: &str,
        spans: &[Range<usize>],
        shapes: Shapes,
        schema: &Schema,
    ) -> Result<Rules, Vec<Diagnostic>> {
        let set = PolicySet::from_str(text).map_err(|errors| {
            let mut findings = Vec::new();
            flatten(&DetailedError::from(&errors), &mut findings);
            findings.iter_mut().for_each(|finding| lead_on(finding, text));
            tidy(findings)
        })?;
        let (set, spans) = name(&set, spans)?;
        let warnings = validate(&set, &shapes, text);
        let warnings = warnings.map_err(|findings| spelling(findings, &shapes, schema))?;
        let trees = trees(&set)?;
        let rules = &trees;
        let stated: Vec<Stated> = rules.values().zip(spans.values().cloned()).map(stated).collect();
        let types = Types::new();
        let ids: Vec<String> = rules.keys().cloned().collect();
        let mut ops_left = compile::OPS_MAX;
        let actions = shapes.actions.iter().map(|action| {
            let name = action.name.as_str();
            let rules = rules.values().map(|rule| rule.body()).enumerate();
            let applying: Vec<(usize, &pst::Template)> =
                rules.filter(|(_, rule)| compile::may_apply(rule, name)).collect();
            let mut reads = Reads::nothing();
            applying.iter().for_each(|(_, rule)| reads.add_rule(rule));
            let plan = Plan::new(&shapes, action, &reads);
            let method = (name, schema.method(name));
            let program = compile::compile(schema, method, &plan, ops_left, &applying);
            ops_left -= program.as_ref().map_or(0, |program| program.ops.len());
            let entity = entity(&types.action, action.name.clone());
            let applying: Vec<usize> = applying.into_iter().map(|(index, _)| index).collect();
            let named = NAMED_ONLY.contains(&name);
            let set = named.then(|| select(&set, &ids, &applying)).transpose()?;
            Ok((action.name.clone(), Action { entity, plan, program, applying, set }))
        });
        let actions: HashMap<String, Action> = actions.collect::<Result<_, Vec<Diagnostic>>>()?;
        let contradicting = trees.values().map(|rule| contradicts(rule.body())).collect::<Vec<_>>();
        let never = never(&ids, &actions, &warnings, &contradicting);
        let found =
            trees.iter().zip(spans.values()).enumerate().flat_map(|(index, (rule, span))| {
                let (id, body) = (rule.0, rule.1.body());
                let dead = never.contains(&index) && !lint::is_dormant(body);
                let contradicts = contradicting[index];
                let dead = dead.then(|| lint::never_holds(id, body, span, contradicts));
                dead.into_iter().chain(lint::lint(body, (text, span), (schema, &shapes)))
            });
        let turned = lint::turned(text, trees.values().zip(spans.values()));
        let lints = tidy(found.chain(confusing(warnings, &trees)).chain(turned).collect());
        let (authorizer, entities) = (Authorizer::new(), Entities::empty());
        let rules =
            Rules { set, ids, stated, never, lints, actions, shapes, types, authorizer, entities };
        Ok(rules)
    }

    /// Returns the findings for which a new policy is rejected.
    pub(super) fn lints(&self) -> &[Diagnostic] {
        &self.lints
    }

    /// The ids of the rules, sorted.
    pub(super) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Every rule, by its id, and whether it permits; sorted.
    pub(super) fn stated(&self) -> impl Iterator<Item = (&str, bool)> {
        self.ids.iter().map(String::as_str).zip(self.stated.iter().map(|rule| rule.permits))
    }

    /// Returns the rules that can never hold, as far as the rules alone show.
    pub(super) fn dead(&self) -> impl Iterator<Item = &str> {
        self.never.iter().map(|&index| self.ids[index].as_str())
    }

    /// Returns whether a step of an action may be permitted: some `permit` may hold, and no
    /// `forbid` always does.
    pub(super) fn may_permit(&self, action: &str) -> bool {
        let Some(action) = self.actions.get(action) else { return false };
        let permits = self.stated.iter().enumerate().filter(|(_, rule)| rule.permits);
        let mut permits = permits.filter(|(index, _)| !self.never.contains(index));
        let rules = action.program.as_ref().map_or(&[][..], |program| &program.rules);
        let is_closed = rules.iter().any(|rule| rule.always && !rule.permits);
        !is_closed && permits.any(|(index, _)| action.may_hold(index))
    }

    /// Returns the actions of which some step may be permitted, in the order of the schema.
    pub(super) fn permitted(&self) -> impl Iterator<Item = &str> {
        let names = self.shapes.actions.iter().map(|action| action.name.as_str());
        names.filter(|name| self.may_permit(name))
    }

    /// The program of an action, if there are both.
    pub(super) fn program(&self, action: &str) -> Option<&Program> {
        self.actions.get(action)?.program.as_ref().ok()
    }

    /// Returns the actions whose rules are not compiled, each with the uncompiled construct, in no
    /// order.
    pub(super) fn uncompiled(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.actions.iter().filter_map(|(name, action)| {
            action.program.as_ref().err().map(|Uncompiled(what)| (name.as_str(), *what))
        })
    }

    /// Returns the parts of the states before and after that the rules on an action read: empty, if
    /// there is no such action.
    pub(super) fn selections(&self, action: &str) -> [Selection; 2] {
        self.actions.get(action).map(|action| action.plan.selections()).unwrap_or_default()
    }

    /// Decides, as `Policy::decide` says.
    pub(super) fn decide(&self, facts: &Facts<'_>, values: &Values<'_>) -> Decision {
        let refuse = |reason| Decision::Refuse { rules: Vec::new(), reason };
        let Some(action) = self.actions.get(facts.action) else {
            return refuse(match facts.action {
                action if IF_NAMED.contains(&action) => Refusal::NotPermitted,
                _ => Refusal::Mismatch { path: "action".to_string() },
            });
        };
        let context = match action.plan.context(facts, values) {
            Ok(context) => context,
            Err(reason) => return refuse(reason),
        };
        let types = &self.types;
        let principal = match facts.principal {
            Principal::Key(key) => entity(&types.key, hex(&key)),
            Principal::Anonymous => entity(&types.anonymous, String::new()),
            Principal::Object(id) => entity(&types.object, hex(&id.0)),
        };
        let resource = entity(&types.object, hex(&facts.object.0));
        // Without a schema to check the request against: the context is built from the same
        // shapes that the schema is printed from.
        let request = Request::new(principal, action.entity.clone(), resource, context, None);
        let Ok(request) = request else {
            return refuse(Refusal::Mismatch { path: "context".to_string() });
        };
        let rules = action.set.as_ref().unwrap_or(&self.set);
        let response = self.authorizer.is_authorized(&request, rules, &self.entities);
        let failed: BTreeMap<String, String> = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| {
                (error.policy_id().to_string(), error.inner().to_string())
            })
            .collect();
        if let Some((rule, message)) = failed.first_key_value() {
            let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
            let reason = Refusal::EvaluationError { rule: rule.clone(), message };
            return Decision::Refuse { rules: failed.into_keys().collect(), reason };
        }
        let rules: BTreeSet<String> =
            response.diagnostics().reason().map(|rule| rule.to_string()).collect();
        let rules: Vec<String> = rules.into_iter().collect();
        match response.decision() {
            cedar_policy::Decision::Allow => Decision::Permit { rules },
            cedar_policy::Decision::Deny if rules.is_empty() => refuse(Refusal::NotPermitted),
            cedar_policy::Decision::Deny => Decision::Refuse { rules, reason: Refusal::Forbidden },
        }
    }
}

/// Characters of Cedar's message that a refusal keeps.
const MESSAGE_CHARS_MAX: usize = 256;

impl Types {
    fn new() -> Types {
        let name = |name| EntityTypeName::from_str(name).expect("the name is an identifier");
        Types {
            key: name("Key"),
            anonymous: name("Anonymous"),
            object: name("Object"),
            action: name("Action"),
        }
    }
}

fn entity(ty: &EntityTypeName, id: String) -> EntityUid {
    EntityUid::from_type_name_and_id(ty.clone(), EntityId::new(id))
}

/// Returns the rules at the given places among these ids.
fn select(set: &PolicySet, ids: &[String], places: &[usize]) -> Result<PolicySet, Vec<Diagnostic>> {
    let rules = places.iter().filter_map(|&place| set.policy(&PolicyId::new(&ids[place])));
    let rules = PolicySet::from_policies(rules.cloned());
    rules.map_err(|error| vec![Diagnostic::whole(error.to_string())])
}

/// The place of each rule in the text, by the rule's id.
type Spans = BTreeMap<String, Range<usize>>;

/// The rules under the ids that their annotations give them.
fn name(set: &PolicySet, spans: &[Range<usize>]) -> Result<(PolicySet, Spans), Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let mut named = PolicySet::new();
    let mut known = Spans::new();
    // Cedar numbers the rules of a text in its order.
    for (index, span) in spans.iter().enumerate() {
        let Some(rule) = set.policy(&PolicyId::new(format!("policy{index}"))) else {
            findings.push(Diagnostic::at(span.clone(), "not a rule"));
            continue;
        };
        // Asked for by its name, an annotation has Cedar parse the name first.
        let given = rule.annotations().find(|(name, _)| *name == "id").map(|(_, id)| id);
        let id = given.unwrap_or_default();
        let characters = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if given.is_none() {
            let message = "a rule without an id: put @id(\"some-name\") before it";
            findings.push(Diagnostic::at(span.clone(), message));
        } else if !(1..=64).contains(&id.len()) || !id.bytes().all(characters) {
            let message = "an id that is not 1 to 64 of the characters a-z, 0-9 and -";
            findings.push(Diagnostic::at(span.clone(), message));
        } else if known.insert(id.to_string(), span.clone()).is_some() {
            let message = format!("a second rule with the id {id:?}");
            findings.push(Diagnostic::at(span.clone(), message));
        } else if let Err(error) = named.add(rule.new_id(PolicyId::new(id))) {
            findings.push(Diagnostic::at(span.clone(), error.to_string()));
        }
    }
    match findings.is_empty() && set.num_of_policies() == spans.len() {
        true => Ok((named, known)),
        false => Err(findings),
    }
}

fn stated((rule, span): (&pst::Policy, Range<usize>)) -> Stated {
    let mut reads = Reads::nothing();
    reads.add_rule(rule.body());
    Stated { span, permits: rule.body().effect == pst::Effect::Permit, reads }
}

/// The rules' trees, by id: the ones that the authorizer evaluates.
///
/// A rule that was parsed from text has its text parsed again when it is asked for a tree. So the
/// rules are asked without their texts, by a conversion that Cedar has, but not in its pages.
fn trees(set: &PolicySet) -> Result<BTreeMap<String, pst::Policy>, Vec<Diagnostic>> {
    let evaluated = set.as_ref();
    let textless = PolicySet::from(evaluated.clone());
    let trees = textless.policies().map(|rule| {
        let tree = rule.to_pst().map_err(|error| vec![Diagnostic::whole(error.to_string())]);
        Ok((rule.id().to_string(), tree?))
    });
    trees.collect()
}

/// A warning of the validator.
enum Warning {
    /// The rule with this id can never hold.
    NeverHolds(String),
    /// A text in the rule with this id may be read as another.
    Confuses(String, Diagnostic),
}

fn validate(set: &PolicySet, shapes: &Shapes, text: &str) -> Result<Vec<Warning>, Vec<Diagnostic>> {
    // The complete schema finds all faults, not only the first.
    match validate_against(Derived::for_text(shapes, text), set) {
        Ok(warnings) if warnings.is_empty() => Ok(warnings),
        _ => validate_against(Derived::whole(shapes), set),
    }
}

fn validate_against(
    derived: Derived<'_>,
    set: &PolicySet,
) -> Result<Vec<Warning>, Vec<Diagnostic>> {
    let whole = |error: &dyn std::fmt::Display| {
        vec![Diagnostic::whole(format!("the derived Cedar schema: {error}"))]
    };
    let schema = cedar_policy::Schema::from_json_value(derived.json());
    let schema = schema.map_err(|error| whole(&error))?;
    let result = Validator::new(schema).validate(set, ValidationMode::Strict);
    let mut findings = Vec::new();
    for error in result.validation_errors() {
        flatten(&DetailedError::from(error), &mut findings);
    }
    match result.validation_passed() {
        true => Ok(result.validation_warnings().filter_map(warning).collect()),
        false => Err(tidy(findings)),
    }
}

/// Converts a warning of the validator; none for those that `lint` finds itself, in the whole text.
fn warning(warning: &ValidationWarning) -> Option<Warning> {
    let id = warning.policy_id().to_string();
    Some(match warning {
        ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
            Warning::NeverHolds(id)
        }
        ValidationWarning::BidiCharsInString(_) | ValidationWarning::BidiCharsInIdentifier(_) => {
            return None;
        }
        other => {
            let mut found = Vec::new();
            flatten(&DetailedError::from(other), &mut found);
            let mut first = found.swap_remove(0);
            first.message = lint::confuses(&printable(&first.message));
            Warning::Confuses(id, first)
        }
    })
}

/// Returns the places of the rules that can never hold: the validator says so, none of their
/// actions has them in its program, or their conditions contradict each other.
fn never(
    ids: &[String],
    actions: &HashMap<String, Action>,
    warnings: &[Warning],
    contradicting: &[bool],
) -> BTreeSet<usize> {
    let warned = |id: &str| {
        let of = |warning: &Warning| matches!(warning, Warning::NeverHolds(it) if it == id);
        warnings.iter().any(of)
    };
    let may_hold = |rule: usize| actions.values().any(|action| action.may_hold(rule));
    let mut compiled = actions.values().flat_map(|action| &action.program);
    let is_consistent = |rule: &Rule| !rule.always || !contradicting[rule.id];
    debug_assert!(
        compiled.all(|program| program.rules.iter().all(is_consistent)),
        "the conditions of a rule that always holds do not contradict each other"
    );
    let rules = ids.iter().enumerate();
    let never =
        rules.filter(|(index, id)| warned(id) || !may_hold(*index) || contradicting[*index]);
    never.map(|(index, _)| index).collect()
}

/// Returns the findings about confusable texts, except in rules that are annotated for it.
fn confusing(
    warnings: Vec<Warning>,
    rules: &BTreeMap<String, pst::Policy>,
) -> impl Iterator<Item = Diagnostic> {
    warnings.into_iter().filter_map(|warning| match warning {
        Warning::Confuses(id, finding) => {
            let is_said = rules.get(&id).is_some_and(|rule| lint::is_confusable(rule.body()));
            (!is_said).then_some(finding)
        }
        Warning::NeverHolds(_) => None,
    })
}

const UNKNOWN_ESCAPE: &str = concat!(
    "an escape that Cedar does not have; it has ",
    r#"\n \r \t \0 \\ \" \' \x41 \u{e9}, and in the pattern of a `like` \*"#
);
const OBJECT_IN_SCOPE: &str = "a scope names what is held against with `==` in full, as \
                               Key::\"...\"; for the object itself write `principal is Object` \
                               here, and behind the scope `when { principal == resource }`";

/// Adds the remedy where Cedar's parser names only the fault.
fn lead_on(finding: &mut Diagnostic, text: &str) {
    let written = finding.span.clone().and_then(|span| text.get(span)).unwrap_or_default();
    if finding.message.contains("is not a valid escape") {
        let span = finding.span.clone().unwrap_or(0..text.len());
        finding.span = unknown_escape(text, &span).or(Some(span));
        finding.message = UNKNOWN_ESCAPE.to_string();
    } else if written == "resource" && finding.message.contains("entity uid") {
        finding.message = OBJECT_IN_SCOPE.to_string();
    }
}

/// Puts the remedy in the place of findings about names of the past that there are not.
fn spelling(findings: Vec<Diagnostic>, shapes: &Shapes, schema: &Schema) -> Vec<Diagnostic> {
    let misspelt: Vec<(Range<usize>, String)> = shapes.misspelt(schema).collect();
    let mended = findings.into_iter().map(|finding| {
        let is_within = |(name, _): &&(Range<usize>, String)| {
            let span = finding.span.as_ref();
            span.is_some_and(|span| span.start <= name.start && name.end <= span.end)
        };
        // A finding about more than one expression is about the rule.
        let mut of_it = misspelt.iter().filter(is_within);
        match (of_it.next(), of_it.next()) {
            (Some((name, message)), None) => Diagnostic::at(name.clone(), message),
            _ => finding,
        }
    });
    tidy(mended.collect())
}

/// Cedar's findings as ours, each with those that it comes with.
fn flatten(error: &DetailedError, findings: &mut Vec<Diagnostic>) {
    let help = error.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    let message = format!("{}{help}", error.message);
    findings.push(match error.source_locations.first() {
        Some(location) => Diagnostic::at(location.loc.start..location.loc.end, message),
        None => Diagnostic::whole(message),
    });
    error.related.iter().for_each(|related| flatten(related, findings));
}

/// Sorts the findings by place and removes duplicates: Cedar repeats one for each action and
/// principal.
fn tidy(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |finding: &Diagnostic| finding.span.as_ref().map(|span| (span.start, span.end));
    findings.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message)));
    findings.dedup();
    let mut kept: Vec<Diagnostic> = Vec::new();
    for finding in findings {
        let last = kept.last_mut().filter(|last| last.span == finding.span);
        let joined = last.is_some_and(|last| join(&mut last.message, &finding.message));
        if !joined {
            kept.push(finding);
        }
    }
    kept.truncate(FINDINGS_MAX);
    kept
}

/// Adds the action in `message` to those in `joined`, if the two do not differ otherwise.
fn join(joined: &mut String, message: &str) -> bool {
    const BEFORE: &str = " in context for ";
    let parts = |message: &str| {
        let start = message.find(BEFORE)? + BEFORE.len();
        let end = start + message[start..].rfind('"')? + 1;
        // Behind the last action there may be a hint, which quotes no more.
        Some((start, end))
    };
    let (Some((start, end)), Some((from, to))) = (parts(joined), parts(message)) else {
        return false;
    };
    if joined[..start] != message[..from] || joined[end..] != message[to..] {
        return false;
    }
    joined.insert_str(end, &format!(", {}", &message[from..to]));
    true
}
