//! Units of the numbers that rules see, to detect a literal in another unit: seconds where a time
//! is in milliseconds, a limit that no window counts up to.
//!
//! This module does not know where a literal stands, nor the units of a schema's fields.

use cedar_policy::pst::{BinaryOp, Expr, Literal};

use crate::cedar::reads::path;
use crate::fact::is_window;

/// The first moment that a literal may be: 2000-01-01, in milliseconds since 1970-01-01 UTC.
const TIME_MIN: i64 = 946_684_800_000;
/// The last millisecond of the year 9999.
const TIME_MAX: i64 = 253_402_300_799_999;
const SECOND_MS: i64 = 1000;
const HOUR_SECONDS: i64 = 60 * 60;
/// Versions that a window counts one by one; from there on a count is the greatest number.
const COUNTED: i64 = 64;

/// The unit of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Milliseconds since 1970-01-01 UTC.
    Time,
    /// Milliseconds.
    Span,
    /// The versions, or the signers, of a window.
    Window,
}

impl Unit {
    /// Returns the unit of an expression's value, where it is known.
    pub(super) fn of(expr: &Expr) -> Option<Unit> {
        match expr {
            Expr::BinaryOp { op, left, right } => Unit::of_operation(*op, left, right),
            Expr::IfThenElse { then_expr, else_expr, .. } => {
                Unit::of(then_expr).filter(|unit| Some(*unit) == Unit::of(else_expr))
            }
            expr => match path(expr)?[..] {
                ["time"] | ["effects", "wake"] | ["lineage", "past", _, "time"] => Some(Unit::Time),
                ["lineage", "age"] => Some(Unit::Span),
                ["lineage", "past", _, what] if is_window(what) => Some(Unit::Window),
                _ => None,
            },
        }
    }

    fn of_operation(op: BinaryOp, left: &Expr, right: &Expr) -> Option<Unit> {
        let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(Literal::Long(_)));
        match (op, Unit::of(left), Unit::of(right)) {
            (BinaryOp::Sub, Some(Unit::Time), Some(Unit::Time)) => Some(Unit::Span),
            (BinaryOp::Sub, Some(Unit::Time), None) if is_literal(right) => Some(Unit::Time),
            (BinaryOp::Sub, Some(Unit::Time), Some(Unit::Span)) => Some(Unit::Time),
            (BinaryOp::Add, Some(Unit::Time), None | Some(Unit::Span)) => Some(Unit::Time),
            (BinaryOp::Add, None | Some(Unit::Span), Some(Unit::Time)) => Some(Unit::Time),
            (BinaryOp::Add | BinaryOp::Sub, Some(Unit::Span), Some(Unit::Span)) => Some(Unit::Span),
            _ => None,
        }
    }

    /// Returns the unit of a literal that stands beside a value of this one.
    pub(super) fn beside(self, op: BinaryOp) -> Option<Unit> {
        use BinaryOp::{Add, Contains, ContainsAll, ContainsAny, Eq, NotEq, Sub};
        use BinaryOp::{Greater, GreaterEq, Less, LessEq};
        match op {
            Add | Sub => (self != Unit::Window).then_some(Unit::Span),
            Eq | NotEq | Less | LessEq | Greater | GreaterEq => Some(self),
            Contains | ContainsAll | ContainsAny => Some(self),
            _ => None,
        }
    }

    /// Returns the fault, and the remedy, of a number of this unit that stands behind a value and
    /// an operator.
    pub(super) fn refuse(self, op: BinaryOp, number: i64) -> Option<String> {
        match self {
            Unit::Time => refuse_time(number),
            Unit::Span => refuse_span(number),
            Unit::Window => refuse_count(op, number),
        }
    }
}

fn refuse_time(number: i64) -> Option<String> {
    let is_time = |time: &i64| (TIME_MIN..=TIME_MAX).contains(time);
    // The encoding of "none" and the greatest number are no moments.
    if number <= 0 || number == i64::MAX || is_time(&number) {
        return None;
    }
    let units = [
        ("seconds", number.checked_mul(SECOND_MS)),
        ("microseconds", Some(number / 1000)),
        ("nanoseconds", Some(number / 1_000_000)),
    ];
    let known = units.into_iter().find_map(|(unit, time)| Some((unit, time.filter(is_time)?)));
    let means = if number < TIME_MIN { "is before 2000" } else { "is beyond the year 9999" };
    let instead = match known {
        Some((unit, time)) => format!("if it is in {unit}, write {time}"),
        None => format!("2000-01-01 is {TIME_MIN}"),
    };
    Some(format!("{number} {means}, as times are milliseconds since 1970-01-01 UTC: {instead}"))
}

fn refuse_span(number: i64) -> Option<String> {
    let is_under_a_second = (1..SECOND_MS).contains(&number);
    let is_hours = number > 0 && number % HOUR_SECONDS == 0 && number % SECOND_MS != 0;
    let seconds = number.checked_mul(SECOND_MS)?;
    (is_under_a_second || is_hours).then(|| {
        let found = format!("{number} is {}.{:03} s", number / SECOND_MS, number % SECOND_MS);
        format!("{found}, as spans of time are milliseconds: if it is in seconds, write {seconds}")
    })
}

fn refuse_count(op: BinaryOp, number: i64) -> Option<String> {
    let last = match op {
        BinaryOp::Less | BinaryOp::GreaterEq => COUNTED,
        _ => COUNTED - 1,
    };
    let is_told = number <= last || number == i64::MAX;
    (!is_told).then(|| {
        format!(
            "no window counts up to {number}: {COUNTED} or more versions in a window count as 2^63 \
             - 1"
        )
    })
}
