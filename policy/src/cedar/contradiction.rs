//! Contradictions: rules with two conditions that exclude each other, so that no step satisfies
//! them.
//!
//! A rule is satisfied when all of its conditions are true. They are taken apart into claims that
//! have to hold together: the parts of an `&&`, and of an `||` that is not to be true. As an
//! expression has one value in one decision, these exclude each other: an expression that is true
//! and not true; two values in two orders, as `a < b` and `b < a`; one value in two ranges without
//! a common number; one value that equals two literals.
//!
//! Within an `||` or an `if`, and by arithmetic, nothing is found: a rule that is not found here
//! may be unable to hold all the same. This module does not know schemas or facts.
//!
//! Invariant: a rule that is found is satisfied by no request, whatever its facts are.

use cedar_policy::pst::{BinaryOp, Expr, Literal, Template, UnaryOp};

use super::compile::conditions;

/// Returns whether two conditions of a rule exclude each other.
pub(super) fn contradicts(rule: &Template) -> bool {
    let conditions = conditions(rule);
    let mut claims = Claims::default();
    conditions.iter().for_each(|condition| claims.add(condition, true));
    claims.exclude
}

/// Orders of two values: any of the bits. Values that are no numbers are equal, or either of the
/// other two.
type Orders = u8;

const LESS: Orders = 1;
const EQUAL: Orders = 2;
const GREATER: Orders = 4;
const ALL: Orders = LESS | EQUAL | GREATER;

/// Claims that hold together, as far as they were added.
#[derive(Default)]
struct Claims<'e> {
    truths: Vec<(&'e Expr, bool)>,
    orders: Vec<(&'e Expr, &'e Expr, Orders)>,
    ranges: Vec<(&'e Expr, Range)>,
    /// Values, each with a literal that it equals.
    literals: Vec<(&'e Expr, &'e Literal)>,
    /// True once two of them exclude each other.
    exclude: bool,
}

/// The numbers that a value may be.
struct Range {
    low: i64,
    high: i64,
    /// Numbers that it is not.
    except: Vec<i64>,
}

impl<'e> Claims<'e> {
    /// Adds the claim that an expression is true, or that it is false.
    fn add(&mut self, expr: &'e Expr, is: bool) {
        match expr {
            Expr::UnaryOp { op: UnaryOp::Not, expr } => self.add(expr, !is),
            Expr::BinaryOp { op, left, right } => match orders(*op, right) {
                Some(orders) => self.order(left, right, if is { orders } else { ALL - orders }),
                None => {
                    self.truth(expr, is);
                    self.parts(expr, is);
                }
            },
            _ => self.truth(expr, is),
        }
    }

    /// Adds the claims of the parts of a chain that all are true, or all are false.
    fn parts(&mut self, expr: &'e Expr, is: bool) {
        let chain = if is { BinaryOp::And } else { BinaryOp::Or };
        let Expr::BinaryOp { op, left, right } = expr else { return };
        if *op != chain {
            return;
        }
        for part in [left, right] {
            match &**part {
                Expr::BinaryOp { op, .. } if *op == chain => self.parts(part, is),
                part => self.add(part, is),
            }
        }
    }

    fn truth(&mut self, expr: &'e Expr, is: bool) {
        match self.truths.iter().find(|(known, _)| *known == expr) {
            Some((_, was)) => self.exclude |= *was != is,
            None => self.truths.push((expr, is)),
        }
    }

    /// Adds the claim that two values are in one of these orders.
    fn order(&mut self, left: &'e Expr, right: &'e Expr, orders: Orders) {
        match (left, right) {
            (value, Expr::Literal(Literal::Bool(is)))
            | (Expr::Literal(Literal::Bool(is)), value) => {
                self.add(value, *is == (orders == EQUAL));
            }
            (value, Expr::Literal(Literal::Long(number))) => self.range(value, orders, *number),
            (Expr::Literal(Literal::Long(number)), value) => {
                self.range(value, mirrored(orders), *number);
            }
            (value, Expr::Literal(literal)) | (Expr::Literal(literal), value)
                if orders == EQUAL =>
            {
                let mut others = self.literals.iter().filter(|(known, _)| *known == value);
                self.exclude |= others.any(|(_, other)| *other != literal);
                self.literals.push((value, literal));
                self.both(left, right, orders);
            }
            _ => self.both(left, right, orders),
        }
    }

    fn both(&mut self, left: &'e Expr, right: &'e Expr, orders: Orders) {
        self.exclude |= left == right && orders & EQUAL == 0;
        let known = self.orders.iter_mut().find_map(|(one, other, known)| match (*one, *other) {
            pair if pair == (left, right) => Some((known, orders)),
            pair if pair == (right, left) => Some((known, mirrored(orders))),
            _ => None,
        });
        match known {
            Some((known, orders)) => {
                *known &= orders;
                self.exclude |= *known == 0;
            }
            None => self.orders.push((left, right, orders)),
        }
    }

    /// Adds the claim that a value is in one of these orders with a number.
    fn range(&mut self, value: &'e Expr, orders: Orders, number: i64) {
        let index = self.ranges.iter().position(|(known, _)| *known == value);
        let index = index.unwrap_or_else(|| {
            self.ranges.push((value, Range { low: i64::MIN, high: i64::MAX, except: Vec::new() }));
            self.ranges.len() - 1
        });
        let range = &mut self.ranges[index].1;
        if orders & EQUAL == 0 {
            range.except.push(number);
        }
        if orders & GREATER == 0 {
            range.high = range.high.min(number);
        }
        if orders & LESS == 0 {
            range.low = range.low.max(number);
        }
        self.exclude |= range.is_empty();
    }
}

impl Range {
    /// Returns whether no number is left. Numbers that are left out elsewhere than at the ends do
    /// not matter.
    fn is_empty(&self) -> bool {
        let is_left_out = |number: &i64| self.except.contains(number);
        let mut ends = (self.low, self.high);
        // As many numbers as are left out, at most.
        while ends.0 <= ends.1 && is_left_out(&ends.0) {
            let Some(next) = ends.0.checked_add(1) else { return true };
            ends.0 = next;
        }
        ends.0 > ends.1
    }
}

/// Returns the orders of two values in which a comparison holds. An entity is in itself only, since
/// there is no hierarchy.
fn orders(op: BinaryOp, right: &Expr) -> Option<Orders> {
    match op {
        BinaryOp::Eq => Some(EQUAL),
        BinaryOp::NotEq => Some(LESS | GREATER),
        BinaryOp::Less => Some(LESS),
        BinaryOp::LessEq => Some(LESS | EQUAL),
        BinaryOp::Greater => Some(GREATER),
        BinaryOp::GreaterEq => Some(GREATER | EQUAL),
        BinaryOp::In if matches!(right, Expr::Literal(Literal::EntityUID(_))) => Some(EQUAL),
        _ => None,
    }
}

/// Returns the orders of two values that are named in the other order.
fn mirrored(orders: Orders) -> Orders {
    let bit = |of: Orders, to: Orders| if orders & of == 0 { 0 } else { to };
    bit(LESS, GREATER) | orders & EQUAL | bit(GREATER, LESS)
}
