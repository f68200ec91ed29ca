//! Loads the inputs of a program into its registers: fields of the states before and after, at
//! known offsets; arguments, in one pass; and the other facts of a step.
//!
//! Everything that the rules read is loaded, even if it does not decide, and held to the bounds of
//! a Cedar context: values beyond them are for Cedar to refuse. Nothing is copied.
//!
//! Invariant: a load fills a fixed number of registers, whatever it finds.

use std::sync::Arc;

use arrayvec::ArrayVec;
use object::codec::Reader;
use object::limits::{
    MEMORY_BYTES_MAX, PAGE_BYTES, PAYLOAD_BYTES_MAX, PAYLOAD_VALUES_MAX, POLICY_CONTEXT_BYTES_MAX,
    POLICY_SET_ITEMS_MAX, POLICY_TEXT_BYTES_MAX,
};
use object::memory::{Memory, Page};
use schema::{Enum, Flags, Param, Type, scalar_bits, skip_value};

use super::datum::{Datum, Items, Text};
use crate::argument::{self, PastArgument};
use crate::fact::{Count, Fact, FactValue};
use crate::facts::Facts;

/// Values that one program reads, at most.
pub(crate) const REGISTERS_MAX: usize = 128;

/// The values that a program reads.
pub(super) type Registers<'a> = ArrayVec<Datum<'a>, REGISTERS_MAX>;

/// The bytes of a step's states and arguments.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// The memory before the step.
    pub before: &'a dyn Memory,
    /// The memory after it.
    pub after: &'a dyn Memory,
    /// The address of the state record in both; the record is valid.
    pub state: u32,
    /// The method's arguments, encoded; none for `advance` and `write`.
    pub arguments: &'a [u8],
}

/// Reads something, into the next register if it says no more.
#[derive(Debug)]
pub(crate) enum Load {
    /// A field of a state, by its offset in the state.
    Field(State, u32, Kind),
    /// Looks whether the option at an offset of a state is there; passes over it, if not. Fills no
    /// register.
    FieldOption(State, u32, Skip),
    /// The next argument, or part of one; without a kind, it is passed over and fills no register.
    Argument(Type, Option<Kind>),
    /// The next argument is an option: passes over it, if it is not there. Fills no register.
    ArgumentOption(Skip),
    /// The next argument is a record. Fills no register.
    ArgumentRecord,
    /// There are no more arguments. Fills no register.
    ArgumentsEnd,
    /// Marks as present the record whose option was tested.
    Present,
    Fact(Fact),
    /// A count of the items of the lists at an offset of the states.
    Count(Count, u32, Kind),
    /// Tests whether the past has the value of the step's own argument; has the step's parameters
    /// if there is such an argument.
    Same(Arc<PastArgument>, Option<Arc<[Param]>>),
}

/// The choice between the two states, before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Before,
    After,
}

/// The loads and registers to skip for an absent option.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Skip {
    pub(crate) loads: usize,
    pub(crate) registers: usize,
}

/// The representation of a value.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Scalar(Scalar),
    Flags(Arc<Flags>, usize),
    Text,
    /// Bytes, seen as their digits.
    Hex,
    Scalars(Scalar),
    Texts,
}

/// The representation of a value of a fixed width; widths are in bytes.
#[derive(Debug, Clone)]
pub(crate) enum Scalar {
    Bool,
    Unsigned(usize),
    Signed(usize),
    Char,
    Enum(Arc<Enum>, usize),
}

/// Reads everything, or gives up.
pub(super) fn load<'a>(
    loads: &'a [Load],
    facts: &'a Facts<'a>,
    raw: &Raw<'a>,
    registers: &mut Registers<'a>,
) -> Option<()> {
    let mut loader = Loader {
        facts,
        state: raw.state,
        before: Pages::new(raw.before),
        after: Pages::new(raw.after),
        arguments: Arguments::new(raw.arguments)?,
        payload: raw.arguments,
        // Cedar's bound counts numbers and records too: here only values that may be large count.
        budget: Budget { left: POLICY_CONTEXT_BYTES_MAX / 2 },
        registers,
    };
    let mut next = 0;
    while let Some(load) = loads.get(next) {
        next += 1;
        if let Some(skip) = loader.load(load)? {
            next += skip.loads;
            for _ in 0..skip.registers {
                loader.registers.try_push(Datum::Absent).ok()?;
            }
        }
    }
    let expected = || loads.iter().filter(|load| load.fills()).count();
    debug_assert_eq!(
        registers.len(),
        expected(),
        "whatever is found, each load fills its register"
    );
    Some(())
}

impl Load {
    /// Returns whether the load fills a register.
    fn fills(&self) -> bool {
        match self {
            Load::Argument(_, kind) => kind.is_some(),
            Load::FieldOption(..) | Load::ArgumentOption(_) => false,
            Load::ArgumentRecord | Load::ArgumentsEnd => false,
            Load::Field(..) | Load::Present | Load::Fact(_) => true,
            Load::Count(..) | Load::Same(..) => true,
        }
    }
}

/// A load in progress: its sources and the registers that it fills.
struct Loader<'l, 'a> {
    facts: &'a Facts<'a>,
    state: u32,
    before: Pages<'a>,
    after: Pages<'a>,
    arguments: Arguments<'a>,
    /// The bytes of all arguments.
    payload: &'a [u8],
    budget: Budget,
    registers: &'l mut Registers<'a>,
}

impl<'a> Loader<'_, 'a> {
    /// Does one load, and returns the skip if an option is absent.
    #[inline]
    fn load(&mut self, load: &'a Load) -> Option<Option<&'a Skip>> {
        // The cost of a value and of a record around it, rounded up.
        self.budget.spend(32)?;
        match load {
            Load::Field(state, offset, kind) => {
                let address = self.state.checked_add(*offset)?;
                if let Kind::Scalar(Scalar::Unsigned(width)) = kind {
                    // The most frequent kind by far, so its bytes are copied once.
                    let bits = scalar_bits(self.pages(*state).bytes(address, *width)?);
                    let number = i64::try_from(bits).ok()?;
                    self.registers.try_push(Datum::Long(number)).ok()?;
                } else {
                    let found = kind.in_memory(self.pages(*state), address)?;
                    self.fill(found)?;
                }
            }
            Load::FieldOption(state, offset, skip) => {
                let address = self.state.checked_add(*offset)?;
                let tag = self.pages(*state).bytes(address, 1)?;
                return Some((!is_there(tag)?).then_some(skip));
            }
            Load::Argument(ty, kind) => {
                let bytes = self.arguments.next(ty)?;
                if let Some(kind) = kind {
                    self.fill(kind.in_payload(bytes)?)?;
                }
            }
            Load::ArgumentOption(skip) => {
                self.arguments.count_one()?;
                let tag = self.arguments.reader.bytes(1).ok()?;
                return Some((!is_there(tag)?).then_some(skip));
            }
            Load::ArgumentRecord => self.arguments.count_one()?,
            Load::ArgumentsEnd if self.arguments.reader.left() > 0 => return None,
            Load::ArgumentsEnd => {}
            Load::Present => self.fill(Datum::Bool(true))?,
            Load::Fact(fact) => {
                let found = self.fact(fact)?;
                self.fill(found)?;
            }
            Load::Count(what, offset, kind) => {
                let found = self.count(*what, *offset, kind)?;
                self.fill(Datum::Long(found.try_into().ok()?))?;
            }
            Load::Same(figure, params) => {
                let params = params.as_deref().unwrap_or_default();
                let present = argument::read(params, &figure.argument, self.payload);
                let found = self.of_value(figure.is_seen(present, self.facts))?;
                self.fill(found)?;
            }
        }
        Some(None)
    }

    fn fact(&mut self, fact: &Fact) -> Option<Datum<'a>> {
        match fact.value(self.facts) {
            Some(value) => self.of_value(value),
            None => self.approvals(fact),
        }
    }

    /// Returns a fact's value; none when the decision on it is Cedar's to word.
    fn of_value(&self, value: FactValue<'a>) -> Option<Datum<'a>> {
        Some(match value {
            FactValue::Absent => Datum::Absent,
            FactValue::Number(number) => Datum::Long(number.try_into().ok()?),
            FactValue::Negative(number) => Datum::Long(-1 - i64::try_from(number).ok()?),
            FactValue::Bool(value) => Datum::Bool(value),
            FactValue::Keys(keys) => Datum::Set(Items::Keys(keys)),
            FactValue::Names(outputs) => Datum::Set(Items::Outputs(outputs)),
            FactValue::Receivers(sent) => Datum::Set(Items::Receivers(sent)),
            FactValue::Hash(hash) => Datum::Text(Text::Hex(hash)),
            FactValue::Bytes(bytes) => Datum::Text(Text::Hex(bytes)),
            FactValue::Text(text) => Datum::Text(Text::Plain(text.as_bytes())),
            FactValue::Unknown | FactValue::TooLong => return None,
        })
    }

    fn approvals(&mut self, fact: &Fact) -> Option<Datum<'a>> {
        let Fact::Approvals { offset, .. } = fact else { return None };
        let keys = self.items(State::Before, *offset, &Kind::Texts)?;
        let mut count = 0;
        for signer in self.facts.signers {
            let approves = keys.contains(Datum::Text(Text::Hex(&signer.0)))?;
            count += i64::from(approves);
        }
        Some(Datum::Long(count))
    }

    fn count(&mut self, what: Count, offset: u32, kind: &'a Kind) -> Option<usize> {
        let (items, others) = match what {
            Count::Before => return Some(self.items(State::Before, offset, kind)?.count()),
            Count::After => return Some(self.items(State::After, offset, kind)?.count()),
            Count::Added => (State::After, State::Before),
            Count::Removed => (State::Before, State::After),
        };
        let items = self.items(items, offset, kind)?;
        let others = self.items(others, offset, kind)?;
        for compared in [items, others] {
            self.budget.hold(&Datum::Set(compared))?;
        }
        items.count_missing(others)
    }

    /// The items of the list at an offset of a state, not more than rules may read.
    fn items(&mut self, state: State, offset: u32, kind: &'a Kind) -> Option<Items<'a>> {
        let address = self.state.checked_add(offset)?;
        let items = kind.in_memory(self.pages(state), address)?.set()?;
        (items.count() <= POLICY_SET_ITEMS_MAX).then_some(items)
    }

    fn pages(&mut self, state: State) -> &mut Pages<'a> {
        match state {
            State::Before => &mut self.before,
            State::After => &mut self.after,
        }
    }

    /// Fills the next register.
    fn fill(&mut self, datum: Datum<'a>) -> Option<()> {
        self.budget.hold(&datum)?;
        self.registers.try_push(datum).ok()
    }
}

/// Reads an option's tag.
fn is_there(tag: &[u8]) -> Option<bool> {
    match tag {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

impl Kind {
    fn in_memory<'a>(&'a self, pages: &mut Pages<'a>, address: u32) -> Option<Datum<'a>> {
        let memory = pages.memory;
        let mut behind = |size: usize| {
            let pair = pages.bytes(address, 8)?;
            pages.behind(pair, size)
        };
        match self {
            Kind::Scalar(scalar) => scalar.datum(pages.bytes(address, scalar.width())?),
            Kind::Flags(flags, width) => flag_items(flags, pages.bytes(address, *width)?),
            Kind::Text => Some(Datum::Text(Text::Plain(behind(1)?))),
            Kind::Hex => Some(Datum::Text(Text::Hex(behind(1)?))),
            Kind::Scalars(scalar) => {
                Some(Datum::Set(Items::Scalars(scalar, behind(scalar.width())?)))
            }
            Kind::Texts => Some(Datum::Set(Items::Pointers(memory, behind(8)?))),
        }
    }

    /// Reads a value from exactly its bytes in a payload.
    fn in_payload<'a>(&'a self, bytes: &'a [u8]) -> Option<Datum<'a>> {
        let counted = || {
            let (count, rest) = bytes.split_first_chunk()?;
            Some((u32::from_le_bytes(*count) as usize, rest))
        };
        match self {
            Kind::Scalar(scalar) => scalar.datum(bytes),
            Kind::Flags(flags, _) => flag_items(flags, bytes),
            Kind::Text => Some(Datum::Text(Text::Plain(counted()?.1))),
            Kind::Hex => Some(Datum::Text(Text::Hex(counted()?.1))),
            Kind::Scalars(scalar) => Some(Datum::Set(Items::Scalars(scalar, counted()?.1))),
            Kind::Texts => {
                let (count, rest) = counted()?;
                Some(Datum::Set(Items::Payload(count, rest)))
            }
        }
    }
}

fn flag_items<'a>(flags: &'a Flags, bytes: &[u8]) -> Option<Datum<'a>> {
    let bits = scalar_bits(bytes);
    (bits >> flags.flags.len() == 0).then_some(Datum::Set(Items::Flags(flags, bits as u32)))
}

impl Scalar {
    pub(super) fn width(&self) -> usize {
        match self {
            Scalar::Bool => 1,
            Scalar::Char => 4,
            Scalar::Unsigned(width) | Scalar::Signed(width) | Scalar::Enum(_, width) => *width,
        }
    }

    /// Returns the value of the bytes, which are as many as it is wide.
    pub(super) fn datum<'a>(&'a self, bytes: &[u8]) -> Option<Datum<'a>> {
        let bits = scalar_bits(bytes);
        Some(match self {
            Scalar::Bool if bits > 1 => return None,
            Scalar::Bool => Datum::Bool(bits == 1),
            Scalar::Unsigned(_) => Datum::Long(i64::try_from(bits).ok()?),
            Scalar::Signed(width) => {
                let unused = 64 - 8 * *width as u32;
                Datum::Long((bits << unused).cast_signed() >> unused)
            }
            Scalar::Char => Datum::Text(Text::Char(char::from_u32(bits as u32)?)),
            Scalar::Enum(names, _) => {
                let name = names.cases.get(usize::try_from(bits).ok()?)?;
                Datum::Text(Text::Plain(name.as_bytes()))
            }
        })
    }
}

/// A memory, with its most recently read page.
pub(super) struct Pages<'a> {
    memory: &'a dyn Memory,
    bytes_count: u64,
    last: Option<(u32, &'a Page)>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(memory: &'a dyn Memory) -> Pages<'a> {
        let bytes_count = memory.bytes_count().min(MEMORY_BYTES_MAX);
        Pages { memory, bytes_count, last: None }
    }

    /// Bytes that lie in one page.
    fn bytes(&mut self, address: u32, count: usize) -> Option<&'a [u8]> {
        if count == 0 {
            return Some(&[]);
        }
        let (index, start) = (address / PAGE_BYTES as u32, address as usize % PAGE_BYTES);
        let end = start.checked_add(count).filter(|&end| end <= PAGE_BYTES)?;
        if u64::from(address) + count as u64 > self.bytes_count {
            return None;
        }
        let page = match self.last {
            Some((last, page)) if last == index => page,
            _ => self.memory.page(index),
        };
        self.last = Some((index, page));
        Some(&page[start..end])
    }

    /// Returns the bytes of the items, `size` wide, whose address and number are in `pair`.
    pub(super) fn behind(&mut self, pair: &[u8], size: usize) -> Option<&'a [u8]> {
        let pair = scalar_bits(pair);
        let (address, count) = (pair as u32, (pair >> 32) as usize);
        self.bytes(address, count.checked_mul(size)?)
    }
}

/// Arguments, read from the first to the last.
struct Arguments<'a> {
    reader: Reader<'a>,
    /// Values that may still be met.
    values: u64,
}

impl<'a> Arguments<'a> {
    fn new(bytes: &'a [u8]) -> Option<Arguments<'a>> {
        let reader = Reader::new("arguments", bytes);
        (bytes.len() <= PAYLOAD_BYTES_MAX)
            .then_some(Arguments { reader, values: PAYLOAD_VALUES_MAX })
    }

    fn count_one(&mut self) -> Option<()> {
        self.values = self.values.checked_sub(1)?;
        Some(())
    }

    /// The bytes of the next value.
    fn next(&mut self, ty: &Type) -> Option<&'a [u8]> {
        let rest = self.reader.rest();
        skip_value(&mut self.reader, ty, &mut self.values).ok()?;
        Some(&rest[..rest.len() - self.reader.left()])
    }
}

/// The remaining budget of a context, in the measure of `POLICY_CONTEXT_BYTES_MAX`.
struct Budget {
    left: usize,
}

impl Budget {
    fn spend(&mut self, bytes: usize) -> Option<()> {
        self.left = self.left.checked_sub(bytes)?;
        Some(())
    }

    /// Takes a value's cost from the budget, after checking everything in the value.
    fn hold(&mut self, datum: &Datum<'_>) -> Option<()> {
        match datum {
            Datum::Text(text) => self.hold_text(*text)?,
            Datum::Set(items) => {
                if items.count() > POLICY_SET_ITEMS_MAX {
                    return None;
                }
                items.find(|item| {
                    self.spend(16)?;
                    if let Datum::Text(text) = item {
                        self.hold_text(text)?;
                    }
                    Some(None::<()>)
                })?;
            }
            _ => {}
        }
        Some(())
    }

    fn hold_text(&mut self, text: Text<'_>) -> Option<()> {
        let count = text.bytes_count();
        if count > POLICY_TEXT_BYTES_MAX {
            return None;
        }
        self.spend(count)
    }
}
