//! Draws events: methods with arguments of their types, direct writes, waits, signed by some of the
//! keys or by nobody.
//!
//! Random values seldom meet the values that code and rules compare. So numbers and texts come, by
//! turns, from the policy and the invariants, from the keys, from the object's state and its
//! results, from the edges of their types, and from nowhere. Admitted calls are drawn again, the
//! same or a little changed. This module learns the outcome of its events only when it is called
//! with it.
//!
//! Invariant: a drawn value is one of its type.

use std::time::Duration;

use object::time::Time;
use schema::{Method, Param, Schema, Type, Value};

use super::play::{Play, START};
use super::random::Random;
use super::report::{Event, What};

/// The spans of a wait, in milliseconds, when nothing suggests another one.
const SPANS: [u64; 6] = [1, 1000, 60_000, 300_000, 3_600_000, 86_400_000];
/// Above it, a number in a policy is a time rather than a span.
const SPAN_MAX: i128 = 366 * 86_400_000;
/// Admitted events that are remembered.
const KNOWN_MAX: usize = 256;
/// Items of a list that is drawn, and of one inside of another.
const ITEMS_MAX: usize = 5;
/// Characters of a text of no origin; now and then it is twice as long.
const LETTERS_MAX: usize = 40;

/// The material of arguments.
#[derive(Clone, Debug, Default)]
struct Stuff {
    numbers: Vec<i128>,
    texts: Vec<String>,
    bytes: Vec<Vec<u8>>,
}

/// Draws events for objects of one definition.
pub(super) struct Draw {
    pub(super) random: Random,
    methods: Vec<Method>,
    /// Fields that can be written.
    places: Vec<(String, Type)>,
    is_amendable: bool,
    key_count: usize,
    /// The texts and numbers in the policy and the invariants, and the keys.
    fixed: Stuff,
    /// The values of the object that is played.
    around: Stuff,
    now: Time,
    known: Vec<Event>,
}

impl Draw {
    pub(super) fn new(seed: u64, schema: &Schema, is_amendable: bool) -> Draw {
        let fields = schema.state().fields.iter();
        let fields = fields.filter(|field| has_fixed_size(&field.ty));
        let (fixed, around, known) = Default::default();
        Draw {
            random: Random::new(seed),
            methods: schema.methods().to_vec(),
            places: fields.map(|field| (field.name.clone(), field.ty.clone())).collect(),
            is_amendable,
            key_count: 0,
            fixed,
            around,
            now: START,
            known,
        }
    }

    /// Takes in a key that signs: its digits, and its bytes.
    pub(super) fn add_key(&mut self, key: [u8; 32], digits: String) {
        self.key_count += 1;
        self.fixed.texts.push(digits);
        self.fixed.bytes.push(key.to_vec());
    }

    /// Takes in the numbers and texts of a Cedar text.
    pub(super) fn add_text(&mut self, cedar: &str) {
        scan(cedar, &mut self.fixed);
    }

    /// Takes in that an event led to a version.
    pub(super) fn learn(&mut self, event: &Event) {
        if matches!(event.what, What::Wait(_) | What::Replay) {
            return;
        }
        if self.known.len() < KNOWN_MAX {
            self.known.push(event.clone());
        } else {
            let index = self.random.below(KNOWN_MAX);
            self.known[index] = event.clone();
        }
    }

    /// Draws the next event.
    pub(super) fn event(&mut self, play: &Play<'_, '_>) -> Event {
        self.now = play.now;
        self.around = Stuff::default();
        if self.random.chance(50) {
            let (definition, image) = (&play.live.definition, &play.live.image);
            let state = definition.schema.read_state(image, definition.code.state_address);
            state.iter().chain(&play.results).for_each(|value| gather(value, &mut self.around));
        }
        match self.random.below(100) {
            0..3 => Event { what: What::Replay, signers: Vec::new() },
            3..15 => Event { what: What::Wait(self.wait(play)), signers: Vec::new() },
            15..35 if !self.known.is_empty() => self.again(),
            _ => Event { what: self.input(), signers: self.signers() },
        }
    }

    /// Something that was admitted, or much like it.
    fn again(&mut self) -> Event {
        let index = self.random.below(self.known.len());
        let mut event = self.known[index].clone();
        match &mut event.what {
            What::Call { method, arguments } if !arguments.is_empty() && self.random.chance(50) => {
                let index = self.random.below(arguments.len());
                let method = self.methods.iter().find(|known| known.name == *method);
                if let Some(ty) = method.map(|method| method.params[index].ty.clone()) {
                    arguments[index] = self.value(&ty, 0);
                }
            }
            _ if self.random.chance(50) => event.signers = self.signers(),
            _ => {}
        }
        event
    }

    fn input(&mut self) -> What {
        let (writes, amends) =
            (usize::from(!self.places.is_empty()), usize::from(self.is_amendable));
        let count = self.methods.len();
        let drawn = self.random.below((count + writes + amends).max(1));
        if drawn < count {
            let method = self.methods[drawn].clone();
            return What::Call { arguments: self.arguments(&method.params), method: method.name };
        }
        if drawn < count + writes {
            let index = self.random.below(self.places.len());
            let (field, ty) = self.places[index].clone();
            return What::Write { value: self.value(&ty, 0), field };
        }
        if amends > 0 { What::Amend } else { What::Wait(Duration::from_millis(1)) }
    }

    /// Arguments of these parameters.
    pub(super) fn arguments(&mut self, params: &[Param]) -> Vec<Value> {
        params.iter().map(|param| self.value(&param.ty, 0)).collect()
    }

    /// Draws the signers: nobody, one, a few, or all.
    fn signers(&mut self) -> Vec<usize> {
        let count = match self.random.below(100) {
            0..25 => 0,
            25..55 => 1,
            55..80 => 2,
            80..95 => 3,
            _ => self.key_count,
        };
        let mut left: Vec<usize> = (0..self.key_count).collect();
        let mut signers = Vec::new();
        while signers.len() < count && !left.is_empty() {
            signers.push(left.swap_remove(self.random.below(left.len())));
        }
        signers.sort_unstable();
        signers
    }

    /// Draws the length of a wait.
    fn wait(&mut self, play: &Play<'_, '_>) -> Duration {
        let now = i128::from(self.now.as_millis());
        let wake = play.live.head.header.wake.map(|wake| i128::from(wake.as_millis()) - now);
        let span = match (wake, self.random.below(10)) {
            (Some(wake), 0..5) => wake,
            (_, 5..7) => match self.stuff(|stuff| &stuff.numbers) {
                Some(number) if number > SPAN_MAX => number - now,
                Some(number) => number,
                None => 1,
            },
            _ => i128::from(*self.random.pick(&SPANS)),
        };
        let span = self.near(span).clamp(0, 100 * SPAN_MAX);
        Duration::from_millis(u64::try_from(span).unwrap_or(0))
    }

    /// Draws one of the object's values, or of the fixed ones.
    fn stuff<T: Clone>(&mut self, of: impl Fn(&Stuff) -> &Vec<T>) -> Option<T> {
        let (around, fixed) = (of(&self.around), of(&self.fixed));
        let among = match (around.is_empty(), fixed.is_empty()) {
            (true, true) => return None,
            (true, false) => fixed,
            (false, true) => around,
            (false, false) if self.random.chance(50) => around,
            (false, false) => fixed,
        };
        Some(self.random.pick(among).clone())
    }

    /// A number, or the one before or behind it.
    fn near(&mut self, number: i128) -> i128 {
        match self.random.below(10) {
            0 => number.saturating_sub(1),
            1 => number.saturating_add(1),
            _ => number,
        }
    }

    /// An integer from `min` to `max`.
    fn integer(&mut self, min: i128, max: i128) -> i128 {
        let drawn = match self.random.below(20) {
            0..6 => self.random.below(17) as i128,
            6..8 => *self.random.pick(&[min, max, i128::from(i64::MAX)]),
            8 => {
                let power = 1i128 << self.random.below(64);
                self.near(power)
            }
            9 => i128::from(self.now.as_millis()) + i128::from(*self.random.pick(&SPANS)),
            10..18 => {
                let found = self.stuff(|stuff| &stuff.numbers).unwrap_or(1);
                self.near(found)
            }
            _ => i128::from(self.random.bits() >> self.random.below(64)),
        };
        let sign = if min < 0 && self.random.chance(20) { -1 } else { 1 };
        (drawn * sign).clamp(min, max)
    }

    fn text(&mut self) -> String {
        match self.random.below(20) {
            0..12 => self.stuff(|stuff| &stuff.texts).unwrap_or_default(),
            12..14 => String::new(),
            14 => "\u{0}".to_string(),
            15 => "\u{e9}\u{1f600}".to_string(),
            _ => {
                let twice = if self.random.chance(10) { 2 } else { 1 };
                let count = self.random.below(LETTERS_MAX * twice);
                (0..count).map(|_| char::from(b'a' + self.random.below(26) as u8)).collect()
            }
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        match self.random.below(20) {
            0..12 => self.stuff(|stuff| &stuff.bytes).unwrap_or_default(),
            12..14 => Vec::new(),
            14 => vec![0; 32],
            _ => (0..self.random.below(LETTERS_MAX)).map(|_| self.random.bits() as u8).collect(),
        }
    }

    fn float(&mut self) -> f64 {
        const EDGES: [f64; 8] =
            [0.0, -0.0, 1.0, 0.5, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE];
        match self.random.below(4) {
            0 => *self.random.pick(&EDGES),
            1 => f64::from_bits(self.random.bits()),
            _ => self.integer(-1_000_000, 1_000_000) as f64,
        }
    }

    /// A value of a type that is `depth` lists or less into an argument.
    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        let mut integer = |min: i128, max: i128| self.integer(min, max);
        match ty {
            Type::Bool => Value::Bool(self.random.chance(50)),
            Type::U8 => Value::U8(integer(0, u8::MAX.into()) as u8),
            Type::U16 => Value::U16(integer(0, u16::MAX.into()) as u16),
            Type::U32 => Value::U32(integer(0, u32::MAX.into()) as u32),
            Type::U64 => Value::U64(integer(0, u64::MAX.into()) as u64),
            Type::S8 => Value::S8(integer(i8::MIN.into(), i8::MAX.into()) as i8),
            Type::S16 => Value::S16(integer(i16::MIN.into(), i16::MAX.into()) as i16),
            Type::S32 => Value::S32(integer(i32::MIN.into(), i32::MAX.into()) as i32),
            Type::S64 => Value::S64(integer(i64::MIN.into(), i64::MAX.into()) as i64),
            Type::F32 => Value::F32(self.float() as f32),
            Type::F64 => Value::F64(self.float()),
            Type::Char => Value::Char(*self.random.pick(&['a', 'Z', '0', '\0', '\u{10ffff}'])),
            Type::String => Value::String(self.text()),
            Type::List(item) if matches!(**item, Type::U8) => Value::Bytes(self.bytes()),
            Type::List(item) => {
                let count = self.random.below(if depth > 0 { 3 } else { ITEMS_MAX });
                Value::List((0..count).map(|_| self.value(item, depth + 1)).collect())
            }
            Type::Enum(ty) => Value::Enum(self.random.pick(&ty.cases).clone()),
            Type::Flags(ty) => {
                let set = ty.flags.iter().filter(|_| self.random.chance(50));
                Value::Flags(set.cloned().collect())
            }
            ty => self.composed(ty, depth),
        }
    }

    /// A value with others in it.
    fn composed(&mut self, ty: &Type, depth: usize) -> Value {
        match ty {
            Type::Option(inner) => {
                let inner = self.random.chance(70).then(|| self.value(inner, depth));
                Value::Option(inner.map(Box::new))
            }
            Type::Record(record) => {
                let fields = record.fields.iter();
                let draw = fields.map(|field| (field.name.clone(), self.value(&field.ty, depth)));
                Value::Record(draw.collect())
            }
            Type::Tuple(tuple) => {
                Value::Tuple(tuple.items.iter().map(|(ty, _)| self.value(ty, depth)).collect())
            }
            Type::Variant(variant) => {
                let case = self.random.pick(&variant.cases).clone();
                let payload = case.payload.map(|ty| Box::new(self.value(&ty, depth)));
                Value::Variant(case.name, payload)
            }
            Type::Result(result) => {
                let is_ok = self.random.chance(50);
                let side = if is_ok { &result.ok } else { &result.err };
                let payload = side.as_ref().map(|ty| Box::new(self.value(ty, depth)));
                Value::Result(if is_ok { Ok(payload) } else { Err(payload) })
            }
            _ => unreachable!("what has nothing in it is drawn elsewhere"),
        }
    }
}

/// Returns whether a field of the type can be written directly.
fn has_fixed_size(ty: &Type) -> bool {
    match ty {
        Type::String | Type::List(_) => false,
        Type::Option(inner) => has_fixed_size(inner),
        Type::Record(record) => record.fields.iter().all(|field| has_fixed_size(&field.ty)),
        Type::Tuple(tuple) => tuple.items.iter().all(|(ty, _)| has_fixed_size(ty)),
        Type::Variant(variant) => {
            variant.cases.iter().filter_map(|case| case.payload.as_ref()).all(has_fixed_size)
        }
        Type::Result(result) => result.ok.iter().chain(&result.err).all(has_fixed_size),
        _ => true,
    }
}

/// Gathers the numbers, texts and bytes in a value.
fn gather(value: &Value, stuff: &mut Stuff) {
    if let Some(number) = value.integer() {
        stuff.numbers.push(number);
        return;
    }
    match value {
        Value::String(text) => stuff.texts.push(text.clone()),
        Value::Bytes(bytes) => stuff.bytes.push(bytes.clone()),
        Value::List(items) | Value::Tuple(items) => {
            items.iter().for_each(|item| gather(item, stuff));
        }
        Value::Record(fields) => fields.iter().for_each(|(_, value)| gather(value, stuff)),
        Value::Option(Some(inner)) | Value::Variant(_, Some(inner)) => gather(inner, stuff),
        Value::Result(Ok(Some(inner)) | Err(Some(inner))) => gather(inner, stuff),
        _ => {}
    }
}

/// Gathers the numbers and the texts in Cedar text, comments aside.
fn scan(cedar: &str, stuff: &mut Stuff) {
    let mut rest = cedar;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let text = &rest[1..];
            let end = text.find('"').unwrap_or(text.len());
            stuff.texts.push(text[..end].to_string());
            (end + 2).min(rest.len())
        } else if first.is_ascii_alphanumeric() || first == '_' {
            let word = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
            let end = rest.find(word).unwrap_or(rest.len());
            stuff.numbers.extend(rest[..end].parse::<i64>().map(i128::from));
            end
        } else {
            first.len_utf8()
        };
        rest = &rest[length..];
    }
}

#[cfg(test)]
mod tests {
    use schema::{decode_args, encode_args};

    use super::*;

    #[test]
    fn what_is_drawn_is_of_its_type_and_reproducible() {
        let schema = Schema::parse(
            "package test:types; interface types {
                 record inner { a: u8, b: option<string> }
                 enum colour { red, green }
                 flags marks { one, two, three }
                 variant shape { dot, line(u32), name(string) }
                 record state { count: u64, label: string, mark: option<inner2> }
                 record inner2 { a: s8 }
                 all: func(a: bool, b: list<inner>, c: colour, d: marks, e: tuple<s64, f32>,
                           f: list<u8>, g: list<list<u16>>, h: option<option<char>>);
             }",
        );
        let schema = schema.unwrap();
        let draw = |seed| {
            let mut draw = Draw::new(seed, &schema, false);
            draw.add_text("permit(principal, action, resource) when { context.time < 77 };");
            let params = schema.methods()[0].params.clone();
            let drawn = (0..500).map(move |_| {
                let bytes = encode_args(&draw.arguments(&params), &params).unwrap();
                assert!(decode_args(&bytes, &params).is_ok());
                bytes
            });
            drawn.collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let writable = Draw::new(0, &schema, false).places;
        assert_eq!(
            writable.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(),
            ["count", "mark"]
        );
    }

    #[test]
    fn a_policy_says_which_numbers_and_texts_matter() {
        let mut stuff = Stuff::default();
        scan(
            "@id(\"a1\") // 5 \"no\"\nwhen { x1 <= 1000 && y == \"0a\" || z > -20 }; \"open",
            &mut stuff,
        );
        assert_eq!(stuff.numbers, [1000, 20]);
        assert_eq!(stuff.texts, ["a1", "0a", "open"]);
    }
}
