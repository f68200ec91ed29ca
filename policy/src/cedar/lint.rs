//! Lints: valid Cedar that its author can hardly mean, such as a rule that can never hold, a
//! literal that no fact ever equals or that is in another unit, a ban of one key that a second
//! signature evades.
//!
//! A new policy must be free of these. A policy on record need not be: decisions were taken by its
//! text, which stays valid for ever. So nothing here decides, and findings are no part of a
//! lineage.
//!
//! This module does not find the rules that can never hold; the validator, the compiler and
//! `contradiction` do.

mod unit;

use std::ops::Range;
use std::sync::Arc;

use cedar_policy::pst::{
    BinaryOp, Clause, Effect, EntityOrSlot, EntityType, EntityUID, Expr, Literal, PatternElem,
    Policy, PrincipalConstraint, ResourceConstraint, Template, UnaryOp, Var,
};
use object::Diagnostic;
use schema::Schema;

use self::unit::Unit;
use super::compile::{may_apply, opposite};
use super::reads::path;
use crate::action::{Action, Shapes};
use crate::fact::{Fact, Placed};
use crate::form::Form;
use crate::profile::{Writ, Written, written};
use crate::shape::declares;

/// The annotation of a rule that may be unable to hold, with the reason why it is there.
const DORMANT: &str = "dormant";
/// The annotation, with a reason, of a rule whose texts mix scripts or change the reading
/// direction.
const CONFUSABLE: &str = "confusable";
/// The annotation, with a reason, of a rule whose unusual times and spans are intended.
const UNIT: &str = "unit";

/// The direction in which an expression moves a rule: true if the rule applies more often when the
/// expression holds more often, false if less often; none when that is unknown.
type Sense = Option<bool>;

/// A rule under examination, and its findings.
pub(super) struct Lint<'a> {
    schema: &'a Schema,
    shapes: &'a Shapes,
    rule: &'a Template,
    span: Range<usize>,
    /// The actions that it may apply to.
    actions: Vec<&'a Action>,
    written: Vec<Written>,
    findings: Vec<Diagnostic>,
}

/// Returns the findings in a rule that stands at `span` of a text.
pub(super) fn lint(
    rule: &Template,
    (text, span): (&str, &Range<usize>),
    (schema, shapes): (&Schema, &Shapes),
) -> Vec<Diagnostic> {
    let actions = shapes.actions.iter().filter(|action| may_apply(rule, &action.name)).collect();
    let (written, findings) = (written(text, span), Vec::new());
    let span = span.clone();
    let mut lint = Lint { schema, shapes, rule, span, actions, written, findings };
    lint.annotations();
    lint.scope();
    for clause in rule.clauses() {
        match clause {
            Clause::When(condition) => lint.expr(condition, Some(true)),
            Clause::Unless(condition) => lint.expr(condition, Some(false)),
        }
    }
    lint.findings
}

/// Returns whether a rule is annotated as possibly unable to hold.
pub(super) fn is_dormant(rule: &Template) -> bool {
    rule.annotations.contains_key(DORMANT)
}

/// Returns whether a rule is annotated as having texts that mix scripts.
pub(super) fn is_confusable(rule: &Template) -> bool {
    rule.annotations.contains_key(CONFUSABLE)
}

/// Returns the finding about a rule that can never hold, as its conditions contradict each other or
/// for another reason.
pub(super) fn never_holds(
    id: &str,
    rule: &Template,
    span: &Range<usize>,
    contradicts: bool,
) -> Diagnostic {
    let does = match rule.effect {
        Effect::Permit => "permits",
        Effect::Forbid => "forbids",
    };
    let why = if contradicts { ", as two of its conditions exclude each other" } else { "" };
    let message = format!(
        "the rule {id} can never hold{why}, so that it {does} nothing: mend it, take it out, or \
         say why it is there by @{DORMANT}(\"...\")"
    );
    Diagnostic::at(span.clone(), message)
}

/// Returns the message about a text that reads as another.
pub(super) fn confuses(warning: &str) -> String {
    format!("{warning}: write it otherwise, or say why it is so by @{CONFUSABLE}(\"...\")")
}

/// Returns findings about characters that change the reading direction, anywhere in the text,
/// except in rules that are annotated for it: the validator does not examine patterns and comments.
pub(super) fn turned<'a>(
    text: &'a str,
    rules: impl Iterator<Item = (&'a Policy, &'a Range<usize>)>,
) -> impl Iterator<Item = Diagnostic> {
    let said = rules.filter(|(rule, _)| is_confusable(rule.body())).map(|(_, span)| span.clone());
    let said: Vec<Range<usize>> = said.collect();
    let turns = |letter| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.match_indices(turns).filter_map(move |(at, letter)| {
        let is_said = said.iter().any(|span| span.contains(&at));
        let message = "a character that changes the direction in which the text is read";
        (!is_said).then(|| Diagnostic::at(at..at + letter.len(), confuses(message)))
    })
}

impl Lint<'_> {
    fn find(&mut self, places: Vec<Range<usize>>, message: &str) {
        let places = if places.is_empty() { vec![self.span.clone()] } else { places };
        self.findings.extend(places.into_iter().map(|place| Diagnostic::at(place, message)));
    }

    /// Returns the places at which a value is written in the rule.
    fn places(&self, what: &Writ, value: &str) -> Vec<Range<usize>> {
        let found = self.written.iter().filter(|it| it.what == *what && it.value == value);
        found.map(|it| it.span.clone()).collect()
    }

    fn annotations(&mut self) {
        for name in [DORMANT, CONFUSABLE, UNIT] {
            let reason = self.rule.annotations.get(name);
            if reason.is_some_and(|reason| reason.trim().is_empty()) {
                self.find(Vec::new(), &format!("@{name} without a reason: say why in it"));
            }
        }
    }

    fn scope(&mut self) {
        let (rule, applies) = (self.rule, Some(true));
        match &rule.principal {
            PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
            | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => {
                self.entity(uid);
                self.evasion(&[uid], applies);
            }
            _ => {}
        }
        match &rule.resource {
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid))
            | ResourceConstraint::In(EntityOrSlot::Entity(uid))
            | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => self.entity(uid),
            _ => {}
        }
    }

    /// Examines an expression and its parts.
    fn expr(&mut self, expr: &Expr, sense: Sense) {
        match expr {
            Expr::Literal(Literal::EntityUID(uid)) => self.entity(uid),
            Expr::Literal(_) | Expr::Var(_) => {}
            Expr::UnaryOp { op: UnaryOp::Not, expr } => match &**expr {
                // `>` is parsed to the opposite of `<=`.
                Expr::BinaryOp { op, left, right } if opposite(*op).is_some() => {
                    let op = opposite(*op).unwrap_or(*op);
                    self.operation(op, (left, right), sense);
                }
                expr => self.expr(expr, sense.map(|it| !it)),
            },
            Expr::GetAttr { expr: of, .. } => {
                self.same(expr);
                self.expr(of, None);
            }
            Expr::UnaryOp { expr, .. } => self.expr(expr, None),
            Expr::BinaryOp { op, left, right } => self.operation(*op, (left, right), sense),
            Expr::HasAttr { expr, attrs } => {
                let attrs: Vec<&str> = attrs.iter().map(|attr| attr.as_str()).collect();
                self.has(expr, &attrs);
                self.expr(expr, None);
            }
            Expr::Like { expr, pattern } => {
                self.like(expr, pattern);
                self.expr(expr, None);
            }
            Expr::Is { expr, in_expr, .. } => {
                if let Some(within) = in_expr {
                    self.relation(BinaryOp::In, expr, within, sense);
                    self.expr(within, None);
                }
                self.expr(expr, None);
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.expr(cond, sense.and_then(|it| of_condition(it, then_expr, else_expr)));
                self.expr(then_expr, sense);
                self.expr(else_expr, sense);
            }
            Expr::Set(items) => items.iter().for_each(|item| self.expr(item, None)),
            Expr::Record(fields) => fields.values().for_each(|field| self.expr(field, None)),
            // Rules that are parsed from text have no other expressions.
            _ => {}
        }
    }

    /// Looks whether a step of the rule can have the argument that the past is asked for.
    fn same(&mut self, expr: &Expr) {
        let Some(path) = path(expr) else { return };
        let mut facts = self.shapes.facts.iter().filter(|placed| placed.path == path);
        let Some(Fact::Argument(figure)) = facts.next().map(|placed| &placed.fact) else { return };
        let has = |action: &&Action| {
            let method = self.schema.method(&action.name);
            method.is_some_and(|method| figure.is_among(&method.params))
        };
        if !figure.is_same() || self.actions.iter().any(has) || is_dormant(self.rule) {
            return;
        }
        let (argument, action) = (figure.path[2].as_str(), figure.path[0].as_str());
        let message = format!(
            "this is never true: no step of the rule has an argument `{argument}` of the kind that \
             `{action}` has, to be the same as an earlier one"
        );
        let mentions = self.shapes.mentions.iter();
        let of_it = mentions.filter(|it| it.names.iter().map(|(name, _)| name).eq(&figure.path));
        let places = of_it.map(|it| it.place(2)).filter(|place| self.span.contains(&place.start));
        let places = places.collect();
        self.find(places, &message);
    }

    /// Looks at an operation, and at its operands.
    fn operation(&mut self, op: BinaryOp, (left, right): (&Expr, &Expr), sense: Sense) {
        let is_chain = matches!(op, BinaryOp::And | BinaryOp::Or);
        if !is_chain {
            self.relation(op, left, right, sense);
        }
        let sense = if is_chain { sense } else { None };
        self.expr(left, sense);
        self.expr(right, sense);
    }

    /// Looks at a literal entity.
    fn entity(&mut self, uid: &EntityUID) {
        let Some(ty) = type_name(&uid.ty) else { return };
        if let Some(message) = Form::of_entity(ty).refuse(&uid.eid) {
            self.find(self.places(&Writ::Entity(ty.to_string()), &uid.eid), &message);
        }
    }

    /// Examines a comparison of two operands.
    fn relation(&mut self, op: BinaryOp, left: &Expr, right: &Expr, sense: Sense) {
        use BinaryOp::{Contains, ContainsAll, ContainsAny, Eq, In, NotEq};
        if matches!(op, Eq | NotEq | Contains | ContainsAll | ContainsAny) {
            self.comparison(left, right);
            self.comparison(right, left);
        }
        let sense = if op == NotEq { sense.map(|it| !it) } else { sense };
        if matches!(op, Eq | NotEq | In | Contains | ContainsAll | ContainsAny) {
            for (one, other) in [(left, right), (right, left)] {
                if mentions_principal(one) {
                    let mut keys = Vec::new();
                    entities(other, &mut keys);
                    self.evasion(&keys, sense);
                }
            }
        }
        let signers = |expr: &Expr| path(expr).is_some_and(|path| path == ["signers"]);
        let exact = match op {
            Eq | NotEq if signers(left) => Some(right),
            Eq | NotEq | ContainsAll if signers(right) => Some(left),
            _ => None,
        };
        if let Some(Expr::Set(keys)) = exact
            && self.restricts(sense)
        {
            let keys: Vec<&Arc<Expr>> = keys.iter().collect();
            self.exact_signers(&keys);
        }
        self.range(op, left, right);
        self.unit(op, left, right);
        self.unit(mirrored(op), right, left);
    }

    /// Examines the literals in an expression that is compared with a value that has a unit.
    fn unit(&mut self, op: BinaryOp, value: &Expr, literals: &Expr) {
        let Some(unit) = Unit::of(value).and_then(|unit| unit.beside(op)) else { return };
        if self.rule.annotations.contains_key(UNIT) {
            return;
        }
        let mut found = Vec::new();
        leaves(literals, &mut |leaf| {
            if let Expr::Literal(Literal::Long(number)) = leaf {
                found.extend(unit.refuse(op, *number).map(|message| (*number, message)));
            }
        });
        for (number, message) in found {
            let message = format!("{message}; or say why it is meant by @{UNIT}(\"...\")");
            self.find(self.places(&Writ::Number, &number.to_string()), &message);
        }
    }

    /// Holds the literals in an expression against the forms of the values in another.
    fn comparison(&mut self, values: &Expr, literals: &Expr) {
        let mut found = Vec::new();
        leaves(literals, &mut |leaf| {
            if let Expr::Literal(literal @ (Literal::String(_) | Literal::Long(_))) = leaf {
                found.push(literal);
            }
        });
        if found.is_empty() {
            return;
        }
        let mut forms = Vec::new();
        leaves(values, &mut |leaf| forms.extend(self.forms(leaf)));
        for literal in found {
            let refusals = forms.iter().map(|form| match literal {
                Literal::String(text) => form.refuse(text),
                Literal::Long(number) => form.refuse_number(*number),
                _ => None,
            });
            // The comparison is fine when one of the values may equal the literal.
            let refusals: Option<Vec<String>> = refusals.collect();
            let Some(message) = refusals.and_then(|all| all.into_iter().next()) else { continue };
            if self.excuses(&forms) {
                continue;
            }
            let places = match literal {
                Literal::String(text) => self.places(&Writ::Text, text),
                Literal::Long(number) => {
                    self.places(&Writ::Number, &number.unsigned_abs().to_string())
                }
                _ => Vec::new(),
            };
            self.find(places, &message);
        }
    }

    /// Returns whether the rule may compare these forms with literals that no value has: it is
    /// annotated as possibly unable to hold, and another schema may have such values.
    fn excuses(&self, forms: &[Form]) -> bool {
        let of_schema = |form: &Form| !matches!(form, Form::Digits(_));
        is_dormant(self.rule) && forms.iter().all(of_schema)
    }

    /// Looks for a comparison of a number that can never hold.
    fn range(&mut self, op: BinaryOp, left: &Expr, right: &Expr) {
        use BinaryOp::{Greater, GreaterEq, Less, LessEq};
        let (op, value, number) = match (left, right) {
            (value, Expr::Literal(Literal::Long(number))) => (op, value, *number),
            (Expr::Literal(Literal::Long(number)), value) => (mirrored(op), value, *number),
            _ => return,
        };
        if !matches!(op, Less | LessEq | Greater | GreaterEq) {
            return;
        }
        let forms = self.forms(value);
        let may_hold = |form: &Form| match (form, op) {
            (Form::Integer(lowest, _), Less) => *lowest < number,
            (Form::Integer(lowest, _), LessEq) => *lowest <= number,
            (Form::Integer(_, highest), Greater) => *highest > number,
            (Form::Integer(_, highest), GreaterEq) => *highest >= number,
            _ => true,
        };
        let Some(Form::Integer(lowest, highest)) = forms.first() else { return };
        if forms.iter().any(may_hold) || is_dormant(self.rule) {
            return;
        }
        let message = format!("this never holds: the value is from {lowest} to {highest}");
        self.find(self.places(&Writ::Number, &number.unsigned_abs().to_string()), &message);
    }

    /// Returns the forms of an expression's value, for each action that the rule may apply to; none
    /// when it is no value of the context.
    fn forms(&self, expr: &Expr) -> Vec<Form> {
        let Some(path) = path(expr) else { return Vec::new() };
        let mut forms: Vec<Form> = Vec::new();
        for action in self.actions.iter().filter(|action| self.has_attribute(action, &path)) {
            let facts: [&[Placed]; 2] = [&action.facts, &self.shapes.facts];
            let form = Form::at(self.schema, &facts, &action.name, &path);
            if !forms.contains(&form) {
                forms.push(form);
            }
            // The states are the same to all.
            if matches!(path.first(), Some(&("before" | "after"))) {
                break;
            }
        }
        forms
    }

    /// Looks for a test of an attribute that no step has.
    fn has(&mut self, expr: &Expr, attrs: &[&str]) {
        let mut path = match (expr, path(expr)) {
            (_, Some(path)) => path,
            (Expr::Var(Var::Principal | Var::Action | Var::Resource), _) => {
                self.never_has(attrs, "no principal, action or resource has attributes");
                return;
            }
            _ => return,
        };
        path.extend(attrs);
        let is_there = self.actions.iter().any(|action| self.has_attribute(action, &path));
        if !is_there && !self.actions.is_empty() {
            let path = path.join(".");
            let message = format!("no step to which this rule applies has `context.{path}`");
            self.never_has(attrs, &message);
        }
    }

    fn never_has(&mut self, attrs: &[&str], message: &str) {
        if !is_dormant(self.rule) {
            let places = attrs.last().map(|last| self.places(&Writ::Has, last));
            self.find(places.unwrap_or_default(), message);
        }
    }

    fn has_attribute(&self, action: &Action, path: &[&str]) -> bool {
        match path {
            ["before" | "after", rest @ ..] => declares(&self.shapes.state, rest),
            ["input", rest @ ..] => declares(&action.input, rest),
            path => {
                let mut facts = action.facts.iter().chain(&self.shapes.facts);
                let leads = |placed: &Placed| {
                    path.len() <= placed.path.len()
                        && placed.path.iter().zip(path).all(|(one, other)| one == other)
                };
                facts.any(leads)
            }
        }
    }

    /// Looks for a pattern that no value is like.
    fn like(&mut self, expr: &Expr, pattern: &[PatternElem]) {
        let elements: Vec<Option<char>> = pattern.iter().map(element).collect();
        let forms = self.forms(expr);
        let refusals: Option<Vec<String>> =
            forms.iter().map(|form| form.refuse_pattern(&elements)).collect();
        let Some(message) = refusals.and_then(|all| all.into_iter().next()) else { return };
        if self.excuses(&forms) {
            return;
        }
        let text: String = elements
            .iter()
            .map(|element| match element {
                None => "*".to_string(),
                Some('*') => "\\*".to_string(),
                Some(letter) => letter.to_string(),
            })
            .collect();
        self.find(self.places(&Writ::Text, &text), &message);
    }

    /// Returns whether the rule lets more through when an expression of this sense does not hold.
    fn restricts(&self, sense: Sense) -> bool {
        let applies = self.rule.effect == Effect::Forbid;
        sense.is_none_or(|sense| sense == applies)
    }

    /// Looks for keys that the principal is held against in order to keep them out.
    fn evasion(&mut self, entities: &[&EntityUID], sense: Sense) {
        let of_keys = |uid: &&&EntityUID| type_name(&uid.ty) == Some("Key");
        if !self.restricts(sense) {
            return;
        }
        for key in entities.iter().filter(of_keys) {
            // Texts that are no key have a finding of their own.
            let is_key = Form::of_entity("Key").refuse(&key.eid).is_none();
            let digits = if is_key { key.eid.as_str() } else { "..." };
            let written = format!("context.signers.contains({digits:?})");
            let message = format!(
                "a second signature by a lower key evades this, because the principal is the \
                 lowest of the signing keys: write `{written}` in a condition instead"
            );
            self.find(self.places(&Writ::Entity("Key".to_string()), &key.eid), &message);
        }
    }

    /// Reports a comparison of the signers with a set that is meant to keep out the signers in the
    /// set.
    fn exact_signers(&mut self, keys: &[&Arc<Expr>]) {
        let message = "one more signature evades this, because the set of signers is then another \
                       one: write `context.signers.containsAny([...])`, or `containsAll`, instead";
        let texts = keys.iter().filter_map(|key| match &***key {
            Expr::Literal(Literal::String(text)) => Some(text.as_str()),
            _ => None,
        });
        let places = texts.flat_map(|text| self.places(&Writ::Text, text)).take(1).collect();
        self.find(places, message);
    }
}

/// The operator that says the same of its operands in the other order.
fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEq => BinaryOp::GreaterEq,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEq => BinaryOp::LessEq,
        op => op,
    }
}

/// The sense of the condition of an `if` that is itself of a sense, where a branch is known.
fn of_condition(sense: bool, then: &Expr, or: &Expr) -> Sense {
    let known = |branch: &Expr| match branch {
        Expr::Literal(Literal::Bool(value)) => Some(*value),
        _ => None,
    };
    match (known(then), known(or)) {
        (Some(true), _) | (_, Some(false)) => Some(sense),
        (Some(false), _) | (_, Some(true)) => Some(!sense),
        (None, None) => None,
    }
}

/// Calls `take` with each possible value of an expression, or of its items: the branches of an
/// `if`, the items of a set.
fn leaves<'e>(expr: &'e Expr, take: &mut impl FnMut(&'e Expr)) {
    match expr {
        Expr::IfThenElse { then_expr, else_expr, .. } => {
            leaves(then_expr, take);
            leaves(else_expr, take);
        }
        Expr::Set(items) => items.iter().for_each(|item| leaves(item, take)),
        leaf => take(leaf),
    }
}

fn mentions_principal(expr: &Expr) -> bool {
    let mut found = false;
    leaves(expr, &mut |leaf| found |= matches!(leaf, Expr::Var(Var::Principal)));
    found
}

fn entities<'e>(expr: &'e Expr, found: &mut Vec<&'e EntityUID>) {
    leaves(expr, &mut |leaf| {
        if let Expr::Literal(Literal::EntityUID(uid)) = leaf {
            found.push(uid);
        }
    });
}

fn element(element: &PatternElem) -> Option<char> {
    match element {
        PatternElem::Char(letter) => Some(*letter),
        PatternElem::Wildcard => None,
    }
}

/// The name of a type that stands in no namespace.
fn type_name(ty: &EntityType) -> Option<&str> {
    ty.0.namespace.is_empty().then(|| ty.0.id.as_str())
}
