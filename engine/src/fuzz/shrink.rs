//! Shrinks a sequence that breaks an invariant: it leaves out events, merges two of a kind,
//! simplifies the rest, and runs each attempt on an object of its own.
//!
//! Simpler means: fewer signers, numbers nearer to 0, shorter texts and lists, less time. This
//! module does not know how a sequence is played, and stops after a fixed number of events, so that
//! the same sequence always ends as the same one.

use std::time::Duration;

use schema::Value;

use super::play::{REPLAYS, Sequence, Stage};
use super::report::{Break, What};
use crate::error::Result;

/// Events that are run to shrink one sequence.
const EVENTS_MAX: usize = 200_000;

/// A sequence that breaks an invariant, and how it is made smaller.
pub(super) struct Shrink<'s, 'f> {
    stage: &'s mut Stage<'f>,
    smallest: Sequence,
    broken: Break,
    /// True if the arguments of the creation are the fuzzer's own.
    is_drawn: bool,
    left: usize,
}

impl<'s, 'f> Shrink<'s, 'f> {
    pub(super) fn new(
        stage: &'s mut Stage<'f>,
        found: Sequence,
        broken: Break,
        is_drawn: bool,
    ) -> Self {
        Shrink { stage, smallest: found, broken, is_drawn, left: EVENTS_MAX }
    }

    /// The smallest sequence that was found to break the invariant in the same way.
    pub(super) fn run(mut self) -> Result<Sequence> {
        loop {
            let is_shorter = self.remove()? | self.merge()?;
            let is_simpler = self.simplify()?;
            if !(is_shorter || is_simpler) {
                return Ok(self.smallest);
            }
        }
    }

    /// Takes a sequence if it breaks the invariant as well; whether it does.
    fn take(&mut self, sequence: Sequence) -> Result<bool> {
        let cost = sequence.events.len() + 1;
        if self.left < cost {
            return Ok(false);
        }
        self.left -= cost;
        let is_recorded = self.broken.invariant == REPLAYS;
        let played = self.stage.play(&sequence, is_recorded, |_, _| {})?;
        let Some((broken, count)) = played else { return Ok(false) };
        if !broken.is_like(&self.broken) {
            return Ok(false);
        }
        self.smallest = sequence;
        self.smallest.events.truncate(count);
        Ok(true)
    }

    /// Removes unneeded events, half of them at a time, then a quarter, down to single ones.
    fn remove(&mut self) -> Result<bool> {
        let (mut any, mut size) = (false, self.smallest.events.len().div_ceil(2));
        while size > 0 {
            let mut start = self.smallest.events.len().saturating_sub(size);
            loop {
                let mut sequence = self.smallest.clone();
                let end = sequence.events.len().min(start + size);
                if start < end {
                    sequence.events.drain(start..end);
                    any |= self.take(sequence)?;
                }
                if start == 0 {
                    break;
                }
                start = start.saturating_sub(size).min(self.smallest.events.len());
            }
            size /= 2;
        }
        Ok(any)
    }

    /// Merges two events of a kind into one, with the sum of one of their numbers.
    fn merge(&mut self) -> Result<bool> {
        let (mut any, mut first) = (false, 0);
        'events: while first < self.smallest.events.len() {
            for second in first + 1..self.smallest.events.len() {
                let events = &self.smallest.events;
                for merged in merged(&events[first].what, &events[second].what) {
                    // Where the one is, or where the other.
                    for (kept, gone) in [(first, second), (second, first)] {
                        let mut sequence = self.smallest.clone();
                        sequence.events[kept].what = merged.clone();
                        sequence.events.remove(gone);
                        if self.take(sequence)? {
                            any = true;
                            continue 'events;
                        }
                    }
                }
            }
            first += 1;
        }
        Ok(any)
    }

    /// Makes each part simpler, as long as one can be.
    fn simplify(&mut self) -> Result<bool> {
        let mut any = false;
        let argument_count = if self.is_drawn { self.smallest.arguments.len() } else { 0 };
        for index in 0..argument_count {
            any |= self.simplify_value(move |sequence| Some(&mut sequence.arguments[index]))?;
        }
        let mut at = 0;
        while at < self.smallest.events.len() {
            any |= self.simplify_event(at)?;
            at += 1;
        }
        Ok(any)
    }

    fn simplify_event(&mut self, at: usize) -> Result<bool> {
        let mut any = self.drop_signers(at)?;
        match &self.smallest.events[at].what {
            What::Call { arguments, .. } => {
                for index in 0..arguments.len() {
                    any |= self.simplify_value(move |sequence| {
                        match &mut sequence.events.get_mut(at)?.what {
                            What::Call { arguments, .. } => arguments.get_mut(index),
                            _ => None,
                        }
                    })?;
                }
            }
            What::Write { .. } => {
                any |= self.simplify_value(move |sequence| {
                    match &mut sequence.events.get_mut(at)?.what {
                        What::Write { value, .. } => Some(value),
                        _ => None,
                    }
                })?;
            }
            What::Wait(_) => any |= self.shorten(at)?,
            What::Amend | What::Replay => {}
        }
        Ok(any)
    }

    fn drop_signers(&mut self, at: usize) -> Result<bool> {
        let (mut any, mut index) = (false, 0);
        while let Some(event) = self.smallest.events.get(at)
            && index < event.signers.len()
        {
            let mut sequence = self.smallest.clone();
            sequence.events[at].signers.remove(index);
            match self.take(sequence)? {
                true => any = true,
                false => index += 1,
            }
        }
        Ok(any)
    }

    /// Has less time go by.
    fn shorten(&mut self, at: usize) -> Result<bool> {
        let mut any = false;
        'shorter: while let Some(event) = self.smallest.events.get(at)
            && let What::Wait(span) = event.what
        {
            for less in toward_zero(i128::try_from(span.as_millis()).unwrap_or(0)) {
                let mut sequence = self.smallest.clone();
                let Ok(less) = u64::try_from(less) else { continue };
                sequence.events[at].what = What::Wait(Duration::from_millis(less));
                if self.take(sequence)? {
                    any = true;
                    continue 'shorter;
                }
            }
            break;
        }
        Ok(any)
    }

    /// Makes the value at a place simpler, as long as it can be.
    fn simplify_value(
        &mut self,
        place: impl Fn(&mut Sequence) -> Option<&mut Value>,
    ) -> Result<bool> {
        let mut any = false;
        'simpler: loop {
            let mut sequence = self.smallest.clone();
            let Some(value) = place(&mut sequence).map(|value| value.clone()) else { break };
            for simpler in simpler(&value) {
                let mut sequence = self.smallest.clone();
                if let Some(place) = place(&mut sequence) {
                    *place = simpler;
                }
                if self.take(sequence)? {
                    any = true;
                    continue 'simpler;
                }
            }
            break;
        }
        Ok(any)
    }
}

/// Returns the events that may replace two events of a kind: one for each number that they have.
fn merged(one: &What, other: &What) -> Vec<What> {
    match (one, other) {
        (What::Wait(one), What::Wait(other)) => vec![What::Wait(one.saturating_add(*other))],
        (
            What::Call { method, arguments },
            What::Call { method: other_method, arguments: others },
        ) if method == other_method => {
            let sums = arguments.iter().zip(others).enumerate();
            let sums = sums.filter_map(|(index, (one, other))| {
                let mut arguments = arguments.clone();
                arguments[index] = integer(one, one.integer()?.checked_add(other.integer()?)?)?;
                Some(What::Call { method: method.clone(), arguments })
            });
            sums.collect()
        }
        _ => Vec::new(),
    }
}

/// A number as a value of the type that another has, if it is one of that.
fn integer(like: &Value, number: i128) -> Option<Value> {
    Some(match like {
        Value::U8(_) => Value::U8(number.try_into().ok()?),
        Value::U16(_) => Value::U16(number.try_into().ok()?),
        Value::U32(_) => Value::U32(number.try_into().ok()?),
        Value::U64(_) => Value::U64(number.try_into().ok()?),
        Value::S8(_) => Value::S8(number.try_into().ok()?),
        Value::S16(_) => Value::S16(number.try_into().ok()?),
        Value::S32(_) => Value::S32(number.try_into().ok()?),
        Value::S64(_) => Value::S64(number.try_into().ok()?),
        _ => return None,
    })
}

/// Numbers nearer to 0, the nearest first, then ever less so.
fn toward_zero(number: i128) -> Vec<i128> {
    let mut nearer = Vec::new();
    let mut off = number;
    while off != 0 {
        nearer.push(number - off);
        off /= 2;
    }
    nearer
}

/// Simpler values of the same type, the simplest first.
fn simpler(value: &Value) -> Vec<Value> {
    if let Some(number) = value.integer() {
        let nearer = toward_zero(number).into_iter();
        return nearer.filter_map(|number| integer(value, number)).collect();
    }
    match value {
        Value::Bool(true) => vec![Value::Bool(false)],
        Value::F32(number) => {
            floats(f64::from(*number)).into_iter().map(|it| Value::F32(it as f32)).collect()
        }
        Value::F64(number) => floats(*number).into_iter().map(Value::F64).collect(),
        Value::Char(letter) if *letter != 'a' => vec![Value::Char('a')],
        Value::String(text) => {
            let letters: Vec<char> = text.chars().collect();
            shorter(&letters)
                .into_iter()
                .map(|it| Value::String(it.into_iter().collect()))
                .collect()
        }
        Value::Bytes(bytes) => shorter(bytes).into_iter().map(Value::Bytes).collect(),
        Value::Flags(flags) => shorter(flags).into_iter().map(Value::Flags).collect(),
        Value::List(items) => {
            let mut lists: Vec<Value> = shorter(items).into_iter().map(Value::List).collect();
            lists.extend(within(items).into_iter().map(Value::List));
            lists
        }
        Value::Tuple(items) => within(items).into_iter().map(Value::Tuple).collect(),
        Value::Record(fields) => {
            let values: Vec<Value> = fields.iter().map(|(_, value)| value.clone()).collect();
            let named = |values: Vec<Value>| {
                fields.iter().map(|(name, _)| name.clone()).zip(values).collect()
            };
            within(&values).into_iter().map(|values| Value::Record(named(values))).collect()
        }
        Value::Option(Some(inner)) => {
            let mut options = vec![Value::Option(None)];
            options.extend(simpler(inner).into_iter().map(|it| Value::Option(Some(it.into()))));
            options
        }
        Value::Variant(case, Some(inner)) => {
            let wrap = |it: Value| Value::Variant(case.clone(), Some(it.into()));
            simpler(inner).into_iter().map(wrap).collect()
        }
        Value::Result(Ok(Some(inner))) => {
            simpler(inner).into_iter().map(|it| Value::Result(Ok(Some(it.into())))).collect()
        }
        Value::Result(Err(Some(inner))) => {
            simpler(inner).into_iter().map(|it| Value::Result(Err(Some(it.into())))).collect()
        }
        _ => Vec::new(),
    }
}

/// Floats that are simpler: each is nearer to 0 or a number at all.
fn floats(number: f64) -> Vec<f64> {
    let simpler = [0.0, 1.0, number.trunc(), (number / 2.0).trunc()];
    let nearer = |it: &f64| !it.is_nan() && (number.is_nan() || it.abs() < number.abs());
    simpler.into_iter().filter(nearer).collect()
}

/// A list without some of its items: without all, without either half, without each one.
fn shorter<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    /// The longest list of which each item is left out by itself.
    const ITEMS_MAX: usize = 80;
    if items.is_empty() {
        return Vec::new();
    }
    let mut lists = vec![Vec::new()];
    if items.len() > 1 {
        let (first, second) = items.split_at(items.len() / 2);
        lists.extend([first.to_vec(), second.to_vec()]);
        for index in 0..items.len().min(ITEMS_MAX) {
            lists.push([&items[..index], &items[index + 1..]].concat());
        }
    }
    lists
}

/// Lists in which one item is simpler.
fn within(items: &[Value]) -> Vec<Vec<Value>> {
    let mut lists = Vec::new();
    for (index, item) in items.iter().enumerate() {
        for simpler in simpler(item) {
            let mut list = items.to_vec();
            list[index] = simpler;
            lists.push(list);
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the value that shrinking ends with when every value that `holds` is accepted.
    fn end(mut value: Value, holds: impl Fn(&Value) -> bool) -> Value {
        while let Some(next) = simpler(&value).into_iter().find(|next| holds(next)) {
            value = next;
        }
        value
    }

    #[test]
    fn a_number_comes_as_near_to_zero_as_it_may() {
        let least = |from: i64, holds: fn(i128) -> bool| {
            end(Value::S64(from), |value| holds(value.integer().unwrap()))
        };
        assert_eq!(least(i64::MAX, |number| number > 1000), Value::S64(1001));
        assert_eq!(least(i64::MIN, |number| number < -7), Value::S64(-8));
        assert_eq!(least(5, |_| true), Value::S64(0));
    }

    #[test]
    fn every_kind_of_value_ends() {
        let values = [
            Value::Bool(true),
            Value::F64(f64::NAN),
            Value::F32(f32::NEG_INFINITY),
            Value::F64(-1e300),
            Value::Char('\u{10ffff}'),
            Value::from("some text"),
            Value::Bytes(vec![1; 40]),
            Value::Flags(vec!["a".into(), "b".into()]),
            Value::List(vec![Value::U64(u64::MAX), Value::U64(3)]),
            Value::Tuple(vec![Value::U8(255), Value::from("a")]),
            Value::Record(vec![("a".into(), Value::S8(-128))]),
            Value::Option(Some(Box::new(Value::U16(9)))),
            Value::Variant("a".into(), Some(Box::new(Value::U32(9)))),
            Value::Result(Ok(Some(Box::new(Value::U32(9))))),
            Value::Result(Err(Some(Box::new(Value::U32(9))))),
        ];
        for value in values {
            let last = end(value.clone(), |_| true);
            assert_eq!(simpler(&last), [], "{value:?}");
        }
    }
}
