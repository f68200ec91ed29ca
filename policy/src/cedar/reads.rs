//! The attributes of the context that a policy's rules read.
//!
//! A decision's context holds these and no others: attributes that no rule can see need be neither
//! converted nor within the bounds of Cedar's values. It changes no verdict, because Cedar observes
//! a record only through its attributes, or as a whole; then all of it is read.
//!
//! This module does not know schemas or values.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::pst::{Clause, Expr, Template, Var};

/// The part of a record that is read.
#[derive(Debug, Clone)]
pub(super) enum Reads {
    /// The value as a whole.
    All,
    /// Only these attributes.
    Of(BTreeMap<String, Reads>),
}

impl Reads {
    pub(super) fn nothing() -> Reads {
        Reads::Of(BTreeMap::new())
    }

    /// The attribute that a path leads to, as a whole.
    pub(super) fn of(path: &[&str]) -> Reads {
        let mut reads = Reads::nothing();
        reads.insert(path);
        reads
    }

    /// The paths to all that is read as a whole, in order; the empty one is to the context itself.
    pub(super) fn paths(&self) -> Vec<Vec<&str>> {
        let Reads::Of(attributes) = self else { return vec![Vec::new()] };
        let mut paths = Vec::new();
        for (name, inner) in attributes {
            let behind = inner.paths().into_iter();
            paths.extend(behind.map(|path| [&[name.as_str()], &path[..]].concat()));
        }
        paths
    }

    /// Returns the part of an attribute that is read, if any.
    pub(super) fn attribute(&self, name: &str) -> Option<&Reads> {
        match self {
            Reads::All => Some(&Reads::All),
            Reads::Of(attributes) => attributes.get(name),
        }
    }

    /// Adds the attributes that a rule reads.
    pub(super) fn add_rule(&mut self, rule: &Template) {
        for clause in rule.clauses() {
            match clause {
                Clause::When(condition) | Clause::Unless(condition) => self.add(condition),
            }
        }
    }

    fn add(&mut self, expr: &Expr) {
        if let Some(path) = path(expr) {
            return self.insert(&path);
        }
        match expr {
            Expr::HasAttr { expr, attrs } => match path(expr) {
                Some(mut path) => {
                    path.extend(attrs.iter().map(|attr| attr.as_str()));
                    self.insert(&path);
                }
                None => self.add(expr),
            },
            Expr::Literal(_) | Expr::Var(_) => {}
            Expr::UnaryOp { expr, .. } => self.add(expr),
            Expr::GetAttr { expr, .. } => self.add(expr),
            Expr::Like { expr, .. } => self.add(expr),
            Expr::BinaryOp { left, right, .. } => self.add_each([left, right]),
            Expr::Is { expr, in_expr, .. } => self.add_each(std::iter::once(expr).chain(in_expr)),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.add_each([cond, then_expr, else_expr]);
            }
            Expr::Set(items) => self.add_each(items),
            Expr::Record(fields) => self.add_each(fields.values()),
            // Rules that are parsed from text have no other expressions.
            _ => *self = Reads::All,
        }
    }

    fn add_each<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Arc<Expr>>) {
        exprs.into_iter().for_each(|expr| self.add(expr));
    }

    fn insert(&mut self, path: &[&str]) {
        let Reads::Of(attributes) = self else { return };
        match path {
            [] => *self = Reads::All,
            [name, rest @ ..] => {
                let inner = attributes.entry((*name).to_string()).or_insert_with(Reads::nothing);
                inner.insert(rest);
            }
        }
    }
}

/// The attributes that lead from `context` to `expr`, if nothing else does.
pub(super) fn path(expr: &Expr) -> Option<Vec<&str>> {
    let mut path = Vec::new();
    let mut expr = expr;
    while let Expr::GetAttr { expr: inner, attr } = expr {
        path.push(attr.as_str());
        expr = inner;
    }
    path.reverse();
    matches!(expr, Expr::Var(Var::Context)).then_some(path)
}
