//! Ledgers' memory of arguments, against a model that keeps all of it in lists: sums, last values,
//! different values, and figures that are unknown when more happened than there is room for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object::codec::Write;
use object::credential::{Credential, PublicKey};
use object::hash::LedgerValue;
use object::input::{Input, Request};
use object::ledger::{
    Argument, Class, DAY, HOUR, Keep, Last, Ledger, MINUTE, ReadArguments, Tracked,
    TrackedArgument, Window,
};
use object::limits::{PAST_TEXT_BYTES_MAX, PAST_VALUES_MAX};
use object::time::Time;

use crate::source::Source;

const WINDOWS: [Window; 4] = [Window::Minute, Window::Hour, Window::Day, Window::Ever];

/// Arguments of two methods: a number, behind a byte that says whether it is there, then a text.
#[derive(Debug)]
struct Calls;

fn call(method: &str, number: Option<i128>, text: &str) -> Request {
    let mut arguments = Vec::new();
    arguments.put_option(number.map(i128::to_le_bytes)).put(text.as_bytes());
    Request::Call { method: method.to_string(), arguments }
}

impl ReadArguments for Calls {
    fn read<'a>(&'a self, _: &str, name: &str, arguments: &'a [u8]) -> Option<Argument<'a>> {
        let (is_there, rest) = arguments.split_first()?;
        let (number, text) = rest.split_at(if *is_there == 1 { 16 } else { 0 });
        match name {
            "amount" => Some(Argument::Integer(i128::from_le_bytes(number.try_into().ok()?))),
            _ => Some(Argument::Text(std::str::from_utf8(text).ok()?)),
        }
    }
}

/// A version that was made: when, by which action, with which arguments, and who asked.
#[derive(Clone)]
struct Made {
    time: u64,
    action: &'static str,
    number: Option<i128>,
    text: String,
    signer: Option<PublicKey>,
}

fn tracked(asked: &[TrackedArgument]) -> Tracked {
    let actions = ["pay", "read"].map(str::to_string);
    Tracked::new(actions, false).reading(asked.iter().cloned(), Arc::new(Calls))
}

fn asked(action: &str, argument: &str) -> TrackedArgument {
    TrackedArgument {
        action: action.to_string(),
        argument: argument.to_string(),
        class: if argument == "amount" { Class::Integer } else { Class::Text },
        total: false,
        amounts: false,
        last: false,
        values: Keep::Nothing,
        signed: Keep::Nothing,
    }
}

/// Asks for everything of an argument.
fn everything(action: &str, argument: &str) -> TrackedArgument {
    let (total, amounts) = (argument == "amount", argument == "amount");
    let (values, signed) = (Keep::Ever, Keep::Ever);
    TrackedArgument { total, amounts, last: true, values, signed, ..asked(action, argument) }
}

struct Life {
    source: Source,
    ledger: Arc<Ledger>,
    made: Vec<Made>,
    asked: Vec<TrackedArgument>,
    time: u64,
    spans: &'static [Duration],
}

const KEYS: [PublicKey; 3] = [PublicKey([1; 32]), PublicKey([2; 32]), PublicKey([3; 32])];

impl Life {
    fn new(asked: &[TrackedArgument], spans: &'static [Duration]) -> Life {
        let (ledger, made) = Default::default();
        Life { source: Source::random(), ledger, made, asked: asked.to_vec(), time: 1 << 40, spans }
    }

    /// Makes a version, of which the number and the text are these.
    fn take(&mut self, action: &'static str, number: Option<i128>, text: &str) {
        let seq = self.made.len() as u64 + 1;
        let span = self.spans[self.source.below(self.spans.len())].as_millis() as u64;
        self.time += [0, 1, span.saturating_sub(1), span][self.source.below(4)];
        let signer = KEYS.get(self.source.below(4)).copied();
        let request = call(action, number, text);
        let input = Input { request, time: Time::from_millis(self.time), credential: None };
        let signers: Vec<PublicKey> = signer.into_iter().collect();
        self.ledger = self.ledger.next(&tracked(&self.asked), seq, &input, &signers);
        let text = text.to_string();
        self.made.push(Made { time: self.time, action, number, text, signer });
    }

    fn draw(&mut self) {
        let number = match self.source.below(12) {
            0 => None,
            1 => Some(0),
            2 => Some(i128::from(i64::MAX) - self.source.below(3) as i128),
            3 => Some(i128::from(u64::MAX)),
            4 => Some(-1 - self.source.below(5) as i128),
            _ => Some(self.source.below(100) as i128),
        };
        let text = ["", "a", "b", "a text that is longer"][self.source.below(4)];
        let action = ["pay", "read"][self.source.below(2)];
        let long = "x".repeat(PAST_TEXT_BYTES_MAX + self.source.below(2));
        let text = if self.source.below(20) == 0 { long.as_str() } else { text };
        self.take(action, number, text);
    }

    /// Holds all figures at a moment against those of the versions since `first`.
    fn check(&self, now: u64, first: usize) {
        let now = Time::from_millis(now);
        for asked in &self.asked {
            let mark = self.ledger.past.argument(&asked.action, &asked.argument);
            let versions = self.made[first..].iter().filter(|made| made.action == asked.action);
            let versions: Vec<&Made> = versions.collect();
            for window in WINDOWS {
                let within = |made: &&&Made| window.has(Time::from_millis(made.time), now);
                let within: Vec<&Made> = versions.iter().filter(within).copied().collect();
                if window == Window::Ever && asked.total || window != Window::Ever && asked.amounts
                {
                    let numbers = within.iter().filter_map(|made| made.number);
                    let is_known = numbers.clone().all(|number| number >= 0);
                    let sum = numbers.sum::<i128>().min(i64::MAX.into()) as u64;
                    let found = mark.map_or(Some(0), |mark| mark.sum(window, now));
                    assert_eq!(found, is_known.then_some(sum), "{window:?}");
                }
                let is_kept = |keep: Keep| match window {
                    Window::Ever => keep == Keep::Ever,
                    _ => keep > Keep::Nothing,
                };
                let mut values: BTreeMap<[u8; 32], bool> = BTreeMap::new();
                let mut signed: BTreeMap<[u8; 32], bool> = BTreeMap::new();
                for made in &versions {
                    let Some(value) = value(made, &asked.argument) else { continue };
                    let is_in = window.has(Time::from_millis(made.time), now);
                    let see = |of: &mut BTreeMap<[u8; 32], bool>, hash: LedgerValue| {
                        *of.entry(hash.0).or_default() |= is_in;
                    };
                    see(&mut values, value.value_hash(None));
                    for key in &KEYS {
                        if made.signer == Some(*key) {
                            see(&mut signed, value.value_hash(Some(key)));
                        }
                    }
                }
                if is_kept(asked.values) {
                    let count = values.values().filter(|is_in| **is_in).count() as u64;
                    let found = mark.map_or(Some(0), |mark| mark.distinct(window, now));
                    assert_eq!(found, Some(count), "{window:?} of {asked:?}");
                }
                for (of, is_signed, keep) in
                    [(&values, false, asked.values), (&signed, true, asked.signed)]
                {
                    for (hash, is_in) in of.iter().filter(|_| is_kept(keep)) {
                        let has = mark.unwrap().has(&LedgerValue(*hash), is_signed, window, now);
                        assert_eq!(has, Some(*is_in), "{window:?} of {asked:?}");
                    }
                    if let Some(mark) = mark.filter(|_| is_kept(keep)) {
                        let other = LedgerValue([9; 32]);
                        assert_eq!(mark.has(&other, is_signed, window, now), Some(false));
                    }
                }
            }
            if asked.last {
                let last = versions.iter().rev().find_map(|made| value(made, &asked.argument));
                let found = mark.and_then(|mark| mark.last());
                assert_eq!(found, last.map(last_of).as_ref());
            }
        }
    }

    fn check_encoding(&self, base: &Ledger) {
        let changes = self.ledger.changes(base);
        let changed = base.changed_by(&changes).unwrap();
        assert_eq!(changed, *self.ledger);
        assert_eq!(changed.hash(), self.ledger.hash());
        let whole = self.ledger.encode();
        assert_eq!(Ledger::decode(&whole).unwrap().hash(), self.ledger.hash());
        assert!(whole.len() <= self.ledger.encoded_bytes_about(), "an upper bound");
    }
}

fn value<'a>(made: &'a Made, argument: &str) -> Option<Argument<'a>> {
    match argument {
        "amount" => made.number.map(Argument::Integer),
        _ => Some(Argument::Text(&made.text)),
    }
}

fn last_of(value: Argument<'_>) -> Last {
    match value {
        Argument::Integer(number) if number < 0 => Last::Negative((-1 - number) as u64),
        Argument::Integer(number) => Last::Number(number as u64),
        Argument::Text(text) if text.len() > PAST_TEXT_BYTES_MAX => Last::TooLong,
        Argument::Text(text) => Last::Bytes(text.as_bytes().into()),
        _ => unreachable!("calls have numbers and texts"),
    }
}

const SHORT: &[Duration] = &[Duration::from_millis(10), MINUTE, Duration::from_secs(600)];
const LONG: &[Duration] = &[MINUTE, HOUR, Duration::from_secs(6 * 60 * 60), DAY];

#[test]
fn figures_are_those_of_all_versions_since() {
    let all = [
        everything("pay", "amount"),
        everything("pay", "text"),
        everything("read", "amount"),
        TrackedArgument { values: Keep::Day, signed: Keep::Day, ..asked("read", "text") },
    ];
    for spans in [SHORT, LONG] {
        let mut life = Life::new(&all, spans);
        let mut bases = vec![Arc::clone(&life.ledger)];
        for round in 0..300 {
            life.draw();
            let base = Arc::clone(&bases[life.source.below(bases.len())]);
            life.check_encoding(&base);
            for later in [0, 1, MINUTE.as_millis(), HOUR.as_millis() - 1, DAY.as_millis()] {
                life.check(life.time + later as u64, 0);
            }
            // The clock of a reader may be behind, while nothing is a day old.
            if life.time - life.made[0].time < DAY.as_millis() as u64 {
                life.check(life.time - 1000, 0);
            }
            if round % 20 == 0 {
                bases.push(Arc::clone(&life.ledger));
            }
        }
    }
}

#[test]
fn only_what_the_policy_asks_for_is_remembered_and_from_then_on() {
    let (amount, text) = (everything("pay", "amount"), everything("pay", "text"));
    let mut life = Life::new(&[amount.clone(), text.clone()], SHORT);
    (0..20).for_each(|_| life.draw());
    life.take("pay", Some(5), "a");
    assert!(life.ledger.past.argument("read", "text").is_none(), "nobody asks for it");
    // A policy that still asks for a part of it goes on with that part, the rest is forgotten.
    let last = TrackedArgument { last: true, ..asked("pay", "amount") };
    life.asked = vec![last];
    let before = Arc::clone(&life.ledger);
    let amend = |life: &mut Life| {
        let request = Request::Amend { policy: Vec::new() };
        let input = Input { request, time: Time::from_millis(life.time), credential: None };
        life.ledger = life.ledger.next(&tracked(&life.asked), 1, &input, &[]);
    };
    amend(&mut life);
    life.check_encoding(&before);
    let now = Time::from_millis(life.time);
    let mark = life.ledger.past.argument("pay", "amount").unwrap();
    assert_eq!((mark.last(), mark.sum(Window::Ever, now)), (Some(&Last::Number(5)), Some(0)));
    assert_eq!(mark.distinct(Window::Ever, now), Some(0));
    assert!(life.ledger.past.argument("pay", "text").is_none());
    // One that asks for it again begins anew.
    life.asked = vec![amount, text];
    amend(&mut life);
    let first = life.made.len();
    (0..20).for_each(|_| life.draw());
    let last = life.asked[0].last;
    life.asked.iter_mut().for_each(|asked| asked.last = false);
    assert!(last, "the last value stayed");
    life.check(life.time, first);
    // So does one after an upgrade to an argument of another kind.
    life.asked = vec![TrackedArgument { class: Class::Bytes, ..everything("pay", "text") }];
    amend(&mut life);
    assert!(life.ledger.past.argument("pay", "text").is_none());
    assert_eq!(life.ledger.past.argument("pay", "amount"), None);
}

#[test]
fn what_is_more_than_is_remembered_is_unknown_in_the_windows_that_it_is_in() {
    let mut life = Life::new(&[everything("pay", "amount")], &[Duration::ZERO]);
    for round in 0..PAST_VALUES_MAX as i128 {
        life.take("pay", Some(round + 1), "");
        // The first is the earliest, and there is no other at its time.
        life.time += u64::from(round == 0);
    }
    life.check(life.time, 0);
    let (first, full) = (life.made[0].time, life.time);
    life.time += HOUR.as_millis() as u64 / 2;
    life.take("pay", Some(1 << 20), "");
    let figures = |life: &Life, window: Window, now: u64| {
        let mark = life.ledger.past.argument("pay", "amount").unwrap();
        let (now, first) = (Time::from_millis(now), Argument::Integer(1).value_hash(None));
        let (sum, distinct) = (mark.sum(window, now), mark.distinct(window, now));
        (sum, distinct, mark.has(&first, false, window, now))
    };
    let now = life.time;
    assert_eq!(figures(&life, Window::Minute, now), (Some(1 << 20), Some(1), Some(false)));
    assert_eq!(figures(&life, Window::Hour, now), (None, None, None));
    let sum = (1 << 20) + PAST_VALUES_MAX as u64 * (PAST_VALUES_MAX as u64 + 1) / 2;
    assert_eq!(figures(&life, Window::Ever, now), (Some(sum), None, None), "a sum needs no list");
    // The dropped ones are out of the window in the end, and those that are there count.
    let hour = HOUR.as_millis() as u64;
    assert_eq!(figures(&life, Window::Hour, first + hour - 1), (None, None, None));
    assert_eq!(figures(&life, Window::Hour, first + hour).0, Some(sum - 1));
    let only = (Some(1 << 20), Some(1), Some(false));
    assert_eq!(figures(&life, Window::Hour, full + hour), only);
    let known = Argument::Integer(1 << 20).value_hash(None);
    let mark = life.ledger.past.argument("pay", "amount").unwrap();
    assert_eq!(mark.has(&known, false, Window::Ever, Time::from_millis(now)), Some(true));
    life.check_encoding(&Ledger::default());
}

#[test]
fn a_sum_stands_at_its_greatest_and_goes_never_down() {
    let mut life = Life::new(&[everything("pay", "amount")], &[Duration::ZERO]);
    let sums = |life: &Life| {
        let mark = life.ledger.past.argument("pay", "amount").unwrap();
        WINDOWS.map(|window| mark.sum(window, Time::from_millis(life.time)))
    };
    let most = i64::MAX as u64;
    life.take("pay", Some(i128::from(most) - 1), "");
    assert_eq!(sums(&life), [Some(most - 1); 4], "exact below 2^63 - 1");
    for more in [1, 1, i128::from(most), i128::from(u64::MAX)] {
        life.take("pay", Some(more), "");
        assert_eq!(sums(&life), [Some(most); 4]);
    }
    life.take("pay", Some(-1), "");
    assert_eq!(sums(&life), [None; 4], "a negative number makes it unknown");
    life.take("pay", Some(5), "");
    assert_eq!(sums(&life), [None; 4]);
    life.time += MINUTE.as_millis() as u64;
    assert_eq!(sums(&life), [Some(0), None, None, None]);
}

/// A signed version costs as much with many values remembered as with one.
#[test]
fn changes_cost_what_changed_however_much_is_remembered() {
    let all = [everything("pay", "amount"), everything("pay", "text")];
    let mut life = Life::new(&all, SHORT);
    let mut costs = Vec::new();
    for round in 0..PAST_VALUES_MAX + 50 {
        let before = Arc::clone(&life.ledger);
        let mut credential = Credential::new(round as u64 + 1, Time::MAX);
        credential.expires = Time::from_millis(life.time + 1000);
        let request = call("pay", Some(1000 + round as i128), &format!("document {round:08}"));
        life.time += 10;
        let time = Time::from_millis(life.time);
        let input = Input { request, time, credential: Some(credential) };
        let tracked = tracked(&life.asked);
        life.ledger = life.ledger.next(&tracked, round as u64 + 1, &input, &KEYS[..1]);
        costs.push(life.ledger.changes(&before).len());
    }
    let (second, thousandth, full) = (costs[1], costs[1000], costs[PAST_VALUES_MAX + 20]);
    println!("bytes of changes: {second} with 1, {thousandth} with 1,000, {full} when full");
    assert!(thousandth <= second + 100, "{thousandth} bytes with 1,000, {second} with one");
    assert!(full <= second + 100, "{full} bytes when full, {second} with one");
}

#[test]
fn changes_of_arguments_that_nothing_writes_are_refused() {
    let all = [everything("pay", "amount"), everything("pay", "text")];
    let mut life = Life::new(&all, SHORT);
    for number in 1..30 {
        let text = ["a", "b"][life.source.below(2)];
        life.take("pay", Some(number), text);
    }
    let base = Ledger::clone(&life.ledger);
    let same = base.changes(&base);
    let with = |arguments: &[u8]| [&same[..], arguments].concat();
    let new = |name: &[u8], class: u8, change: &[u8]| {
        let names = [&[3][..], b"pay", &[name.len() as u8], name].concat();
        [&[0, 1][..], &names, &[class, change.len() as u8], change].concat()
    };
    for (what, bytes) in [
        ("nothing, said", with(&[0, 0])),
        ("an argument that is not there", with(&[1, 2, 0, 0])),
        ("more than there are", with(&[3, 0, 0, 0, 0, 0, 0, 0])),
        ("unknown flags", with(&[1, 0, 1, 32, 0])),
        ("no change", with(&[1, 0, 1, 0, 0])),
        ("a last value of another kind", with(&[1, 0, 4, 4, 3, 1, b'a', 0])),
        ("a sum of texts", with(&[1, 1, 2, 1, 5, 0])),
        ("a sum that is none", with(&[&[1, 0, 11, 1][..], &[0xff; 8], &[0x7f, 0]].concat())),
        ("a new argument that is there", with(&new(b"text", 2, &[4, 4]))),
        ("a new argument of no class", with(&new(b"a", 4, &[4, 4]))),
        ("a new argument of nothing", with(&new(b"a", 0, &[0]))),
        ("a text that is none", with(&[1, 1, 4, 4, 3, 1, 0xff, 0])),
        ("bytes behind a change", with(&[1, 0, 4, 4, 1, 7, 0, 0])),
        ("bytes behind", with(&[1, 0, 3, 4, 1, 7, 0, 0])),
        ("cut", with(&[1])),
    ] {
        let error = base.changed_by(&bytes).unwrap_err().to_string();
        assert!(error.contains("changes of a ledger"), "{what}: {error}");
    }
    let removed = base.changed_by(&with(&[1, 1, 0, 0])).unwrap();
    assert!(removed.past.argument("pay", "text").is_none());
    // Other bytes are other changes, or none.
    let before = Arc::clone(&life.ledger);
    (0..5).for_each(|_| life.draw());
    let changes = life.ledger.changes(&before);
    for _ in 0..2000 {
        let mut other = changes.clone();
        let at = life.source.below(other.len());
        other[at] = other[at].wrapping_add(1 + life.source.below(255) as u8);
        if let Ok(changed) = before.changed_by(&other) {
            assert_eq!(changed.changes(&before), other);
        }
    }
}
