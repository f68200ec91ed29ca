//! Policies as programs: the rules on one action, compiled to a flat list of operations over values
//! that stay in place, in memory, in a payload or in the program itself.
//!
//! A program decides the plain case, which is nearly every case, and allocates nothing. It gives up
//! on a value outside of what a policy may read, a number that overflows, a text or list across the
//! edge of a page, and sets too large to be compared item by item. The caller then asks Cedar,
//! which defines the words and limits of these verdicts. So a program never contradicts Cedar, but
//! may give no answer.
//!
//! It does not know Cedar, nor how a program was compiled.
//!
//! Invariant: jumps go forward, so a run takes at most as many operations as there are.

mod datum;
mod load;

use arrayvec::ArrayVec;

pub(super) use self::datum::{Datum, Entity, EntityType, Items, Literal, Text};
pub use self::load::Raw;
use self::load::Registers;
pub(super) use self::load::{Kind, Load, REGISTERS_MAX, Scalar, Skip, State};
use crate::facts::{Facts, Principal};

/// Values that are at hand at once in an expression.
pub(super) const STACK_MAX: usize = 32;
/// Rules of a policy, as bits.
pub(super) type RuleBits = [u64; object::limits::RULES_MAX / 64];

/// The rules on one action.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// The loads, each into the next register.
    pub(super) loads: Vec<Load>,
    pub(super) ops: Vec<Op>,
    pub(super) rules: Vec<Rule>,
    pub(super) literals: Vec<Literal>,
    pub(super) sets: Vec<Vec<Literal>>,
    /// Bytes that a text has to have; none for any number of any bytes.
    pub(super) patterns: Vec<Vec<Option<u8>>>,
}

/// A rule: operations that leave whether it is satisfied.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) permits: bool,
    /// Place among the ids of the policy.
    pub(super) id: usize,
    /// The index behind the rule's last operation; its first is at the end of the rule before.
    pub(super) end: usize,
    /// True if the rule holds for every step.
    pub(super) always: bool,
}

/// An operation. It takes operands off the stack, the right one first, and pushes its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Bool(bool),
    Long(i64),
    Literal(u16),
    Set(u16),
    Register(u16),
    Principal,
    Action,
    Resource,
    /// Pushes whether a register holds a value.
    Has(u16),
    Not,
    Negate,
    IsEmpty,
    Binary(Binary),
    /// The same on two registers.
    OnRegisters(Binary, u16, u16),
    Like(u16),
    Is(EntityType),
    /// If the top of the stack is false, jumps and leaves it there; else takes it off.
    JumpIfFalse(u32),
    /// If the top of the stack is true, jumps and leaves it there; else takes it off.
    JumpIfTrue(u32),
    /// Takes a `bool` off the stack; if it is false, jumps.
    Branch(u32),
    /// Jumps.
    Jump(u32),
}

/// An operator of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    In,
    Contains,
    ContainsAll,
    ContainsAny,
}

impl Op {
    /// Returns by how much the operation changes the stack's height when the next operation
    /// follows.
    pub(super) fn growth(self) -> isize {
        match self {
            Op::Bool(_) | Op::Long(_) | Op::Literal(_) | Op::Set(_) => 1,
            Op::Register(_) | Op::Has(_) | Op::OnRegisters(..) => 1,
            Op::Principal | Op::Action | Op::Resource => 1,
            Op::Not | Op::Negate | Op::IsEmpty | Op::Like(_) | Op::Is(_) | Op::Jump(_) => 0,
            Op::Binary(_) => -1,
            Op::JumpIfFalse(_) | Op::JumpIfTrue(_) | Op::Branch(_) => -1,
        }
    }
}

/// A decision by compiled rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ruled {
    /// True if a rule permits and none forbids.
    pub(super) permits: bool,
    /// The rules that decided.
    pub(super) rules: RuleBits,
}

type Stack<'a> = ArrayVec<Datum<'a>, STACK_MAX>;

impl Program {
    /// Checks that each rule stays within its own operations, and each operation within what the
    /// program has, of which `registers` are filled.
    pub(super) fn check_invariants(&self, registers: usize) {
        let ends: Vec<usize> = self.rules.iter().map(|rule| rule.end).collect();
        assert!(ends.is_sorted(), "rules follow one another");
        assert_eq!(ends.last().copied().unwrap_or(0), self.ops.len(), "an operation is of a rule");
        let has = |index: u16, count: usize| usize::from(index) < count;
        for (at, op) in self.ops.iter().enumerate() {
            let end = ends[ends.partition_point(|end| *end <= at)];
            match *op {
                Op::JumpIfFalse(to) | Op::JumpIfTrue(to) | Op::Branch(to) | Op::Jump(to) => {
                    assert!((at + 1..=end).contains(&(to as usize)), "jumps go forward in a rule");
                }
                Op::Register(index) | Op::Has(index) => {
                    assert!(has(index, registers), "a register is filled");
                }
                Op::OnRegisters(_, left, right) => {
                    assert!(has(left, registers) && has(right, registers), "registers are filled");
                }
                Op::Literal(index) => {
                    assert!(has(index, self.literals.len()), "a literal is there")
                }
                Op::Set(index) => assert!(has(index, self.sets.len()), "a set is there"),
                Op::Like(index) => assert!(has(index, self.patterns.len()), "a pattern is there"),
                _ => {}
            }
        }
    }

    /// Decides, or returns nothing where the program cannot decide.
    pub(super) fn run<'a>(&'a self, facts: &'a Facts<'a>, raw: &Raw<'a>) -> Option<Ruled> {
        let mut registers = Registers::new();
        load::load(&self.loads, facts, raw, &mut registers)?;
        let machine = Machine { program: self, registers: &registers, facts };
        let (mut permits, mut forbids) = (RuleBits::default(), RuleBits::default());
        let mut stack = Stack::new();
        let mut start = 0;
        for rule in &self.rules {
            if machine.run(start, rule.end, &mut stack)? {
                let bits = if rule.permits { &mut permits } else { &mut forbids };
                bits[rule.id / 64] |= 1 << (rule.id % 64);
            }
            start = rule.end;
        }
        let none = RuleBits::default();
        Some(match forbids == none {
            true => Ruled { permits: permits != none, rules: permits },
            false => Ruled { permits: false, rules: forbids },
        })
    }
}

/// A program in execution: its inputs, registers and stack.
struct Machine<'m, 'a> {
    program: &'a Program,
    registers: &'m Registers<'a>,
    facts: &'a Facts<'a>,
}

impl<'a> Machine<'_, 'a> {
    /// Runs one rule: whether it is satisfied.
    fn run(&self, start: usize, end: usize, stack: &mut Stack<'a>) -> Option<bool> {
        stack.clear();
        let mut next = start;
        while next < end {
            let op = self.program.ops[next];
            next += 1;
            match op {
                Op::JumpIfFalse(target) | Op::JumpIfTrue(target) => {
                    if stack.last()?.bool()? == matches!(op, Op::JumpIfTrue(_)) {
                        next = target as usize;
                    } else {
                        stack.pop();
                    }
                }
                Op::Branch(target) => {
                    if !stack.last()?.bool()? {
                        next = target as usize;
                    }
                    stack.pop();
                }
                Op::Jump(target) => next = target as usize,
                Op::Bool(_)
                | Op::Long(_)
                | Op::Literal(_)
                | Op::Set(_)
                | Op::Register(_)
                | Op::Principal
                | Op::Action
                | Op::Resource => stack.try_push(self.operand(op)?).ok()?,
                op => {
                    let (found, taken) = self.compute(op, stack)?;
                    stack.truncate(stack.len() - taken);
                    match found {
                        Found::Bool(value) => stack.try_push(Datum::Bool(value)).ok()?,
                        Found::Long(value) => stack.try_push(Datum::Long(value)).ok()?,
                    }
                }
            }
        }
        debug_assert_eq!(stack.len(), 1, "a rule leaves one value");
        stack.last()?.bool()
    }

    /// Returns the value that an operation pushes which takes nothing off the stack.
    fn operand(&self, op: Op) -> Option<Datum<'a>> {
        let program = self.program;
        Some(match op {
            Op::Bool(value) => Datum::Bool(value),
            Op::Long(value) => Datum::Long(value),
            Op::Literal(index) => program.literals[usize::from(index)].datum(),
            Op::Set(index) => Datum::Set(Items::Literals(&program.sets[usize::from(index)])),
            Op::Register(index) => *self.register(index),
            Op::Principal => Datum::Entity(self.principal()),
            Op::Action => {
                let id = Text::Plain(self.facts.action.as_bytes());
                Datum::Entity(Entity { ty: EntityType::Action, id })
            }
            Op::Resource => Datum::Entity(Entity::object(&self.facts.object)),
            _ => return None,
        })
    }

    /// Returns the result of an operation, and the number of its operands. They are read in place
    /// on the stack: copying a freshly written value costs more than most operations.
    fn compute(&self, op: Op, stack: &Stack<'a>) -> Option<(Found, usize)> {
        Some(match op {
            Op::Has(index) => (Found::Bool(!matches!(self.register(index), Datum::Absent)), 0),
            Op::OnRegisters(op, left, right) => {
                (binary(op, self.register(left), self.register(right))?, 0)
            }
            Op::Binary(op) => {
                let [.., left, right] = &stack[..] else { return None };
                (binary(op, left, right)?, 2)
            }
            Op::Not => (Found::Bool(!stack.last()?.bool()?), 1),
            Op::Negate => (Found::Long(stack.last()?.long()?.checked_neg()?), 1),
            Op::IsEmpty => (Found::Bool(stack.last()?.set()?.count() == 0), 1),
            Op::Like(index) => {
                let pattern = &self.program.patterns[usize::from(index)];
                (Found::Bool(stack.last()?.text()?.is_like(pattern)?), 1)
            }
            Op::Is(ty) => (Found::Bool(stack.last()?.entity()?.ty == ty), 1),
            _ => return None,
        })
    }

    fn register(&self, index: u16) -> &Datum<'a> {
        &self.registers[usize::from(index)]
    }

    fn principal(&self) -> Entity<'a> {
        match &self.facts.principal {
            Principal::Key(key) => Entity { ty: EntityType::Key, id: Text::Hex(key) },
            Principal::Anonymous => Entity { ty: EntityType::Anonymous, id: Text::Plain(b"") },
            Principal::Object(id) => Entity::object(id),
        }
    }
}

/// The result of an operator.
enum Found {
    Bool(bool),
    Long(i64),
}

/// The result of an operator.
fn binary(op: Binary, left: &Datum<'_>, right: &Datum<'_>) -> Option<Found> {
    if let (Datum::Long(left), Datum::Long(right)) = (left, right) {
        return Some(match op {
            Binary::Equal => Found::Bool(left == right),
            Binary::NotEqual => Found::Bool(left != right),
            Binary::Less => Found::Bool(left < right),
            Binary::LessEqual => Found::Bool(left <= right),
            Binary::Greater => Found::Bool(left > right),
            Binary::GreaterEqual => Found::Bool(left >= right),
            Binary::Add => Found::Long(left.checked_add(*right)?),
            Binary::Subtract => Found::Long(left.checked_sub(*right)?),
            Binary::Multiply => Found::Long(left.checked_mul(*right)?),
            Binary::In | Binary::Contains | Binary::ContainsAll | Binary::ContainsAny => {
                return None;
            }
        });
    }
    Some(Found::Bool(match op {
        Binary::Equal => left.equals(*right)?,
        Binary::NotEqual => !left.equals(*right)?,
        // Without a hierarchy, an entity is in itself only.
        Binary::In => match right {
            Datum::Set(items) => items.contains(*left)?,
            entity => left.entity()?.equals(entity.entity()?),
        },
        Binary::Contains => left.set()?.contains(*right)?,
        Binary::ContainsAll => left.set()?.contains_all(right.set()?)?,
        Binary::ContainsAny => left.set()?.contains_any(right.set()?)?,
        _ => return None,
    }))
}
