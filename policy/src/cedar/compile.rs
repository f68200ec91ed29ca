//! Compiles rules into the program of one action, which evaluates them as Cedar does.
//!
//! These are not compiled, so that Cedar decides on the action:
//!
//! - records as values: written out in a rule, compared, in a set, or the branches of an `if`;
//! - sets with an item that is not a literal, and empty ones;
//! - attributes of anything other than `context`;
//! - more values than a program has registers for, a deeper expression than its stack, or rules
//!   longer than `OPS_MAX` when they are counted for each action.
//!
//! The action is known, so conditions about it are settled here, and code behind a condition that
//! does not hold is left out.
//!
//! The compiler relies on strict validation: operands have the types that their operators take.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, EntityOrSlot, EntityType as CedarType, EntityUID,
    Expr, Literal as CedarLiteral, PatternElem, PrincipalConstraint, ResourceConstraint, Template,
    UnaryOp, Var,
};
use schema::{Method, Param, Record, Schema, Type, option_layout, scalar_width};

use super::context::Plan;
use super::reads::path;
use crate::action::NAMED_ONLY;
use crate::fact::{Fact, Placed, groups, single};
use crate::program::{
    Binary, EntityType, Kind, Literal, Load, Op, Program, REGISTERS_MAX, Rule, STACK_MAX, Scalar,
    Skip, State,
};
use crate::shape::{Attribute, Shape};

/// A construct that is not compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uncompiled(pub(super) &'static str);

type Result<T> = std::result::Result<T, Uncompiled>;

/// Operations that all programs of a policy have.
pub(super) const OPS_MAX: usize = 64 << 10;

/// Compiles the rules that may apply to an action, each with its index among the ids, to at most
/// `ops_max` operations. The action is that of a method, or has none.
pub(super) fn compile(
    schema: &Schema,
    (action, method): (&str, Option<&Method>),
    plan: &Plan,
    ops_max: usize,
    rules: &[(usize, &Template)],
) -> Result<Program> {
    let mut loads = Loads::default();
    let context = loads.context(schema, method, plan)?;
    let mut compiler = Compiler {
        action,
        context: &context,
        program: Program { loads: loads.loads, ..Program::default() },
        ops_max,
        depth: 0,
    };
    for (id, rule) in rules {
        compiler.rule(*id, rule)?;
    }
    if cfg!(debug_assertions) {
        compiler.program.check_invariants(loads.registers);
    }
    Ok(compiler.program)
}

/// Returns whether a rule may be satisfied by a step of an action, as far as its scope says.
///
/// A rule that permits every action does not thereby permit changes to itself, nor a weaker proof
/// than a signature, nor its end: an amendment, an upgrade, a session and a deletion are permitted
/// only by a rule that names them.
pub(super) fn may_apply(rule: &Template, action: &str) -> bool {
    match &rule.action {
        ActionConstraint::Any => !NAMED_ONLY.contains(&action) || rule.effect == Effect::Forbid,
        ActionConstraint::Eq(uid) => is_action(uid, action),
        ActionConstraint::In(uids) => uids.iter().any(|uid| is_action(uid, action)),
    }
}

/// The attributes of a record that is read.
type Names = BTreeMap<String, Named>;

/// An attribute's value and the register of its presence.
#[derive(Debug)]
struct Named {
    /// The register that is empty when the attribute is not there, if it may not be.
    presence: Option<u16>,
    what: What,
}

#[derive(Debug)]
enum What {
    Value(u16),
    Record(Names),
}

#[derive(Default)]
struct Loads {
    loads: Vec<Load>,
    registers: usize,
}

impl Loads {
    fn context(&mut self, schema: &Schema, method: Option<&Method>, plan: &Plan) -> Result<Names> {
        let mut names = Names::new();
        let record = |names| Named { presence: None, what: What::Record(names) };
        for (name, state, read) in
            [("before", State::Before, &plan.before), ("after", State::After, &plan.after)]
        {
            if let Some(attributes) = read {
                let fields = self.fields(state, 0, schema.state(), attributes)?;
                names.insert(name.to_string(), record(fields));
            }
        }
        if let Some(method) = method {
            let read = plan.input.as_deref().unwrap_or_default();
            let types: Vec<&Type> = method.params.iter().map(|param| &param.ty).collect();
            let input = self.arguments(&types, read)?;
            self.loads.push(Load::ArgumentsEnd);
            names.insert("input".to_string(), record(input));
        }
        let params = method.map_or(&[][..], |method| &method.params[..]);
        names.append(&mut self.facts(schema, params, &plan.facts, 0)?);
        Ok(names)
    }

    /// Adds a load that fills a register.
    fn fill(&mut self, load: Load) -> Result<u16> {
        let register = self.registers;
        if register >= REGISTERS_MAX {
            return Err(Uncompiled("the rules read more values than a program has room for"));
        }
        self.loads.push(load);
        self.registers += 1;
        Ok(register as u16)
    }

    /// Loads the facts that are `depth` deep in the context of an action with these parameters.
    fn facts(
        &mut self,
        schema: &Schema,
        params: &[Param],
        known: &[Placed],
        depth: usize,
    ) -> Result<Names> {
        let mut names = Names::new();
        for (name, group) in groups(known, depth) {
            let named = match single(group, depth) {
                Some(fact) => {
                    let register = self.fill(match fact {
                        Fact::Count { field, offset, what } => {
                            let ty = &schema.state().fields[*field].ty;
                            Load::Count(*what, *offset, kind(ty)?)
                        }
                        Fact::Argument(it) if it.is_same() => {
                            let params = it.is_among(params).then(|| params.into());
                            Load::Same(Arc::clone(it), params)
                        }
                        fact => Load::Fact(fact.clone()),
                    })?;
                    let presence = fact.is_optional().then_some(register);
                    Named { presence, what: What::Value(register) }
                }
                None => {
                    let inner = self.facts(schema, params, group, depth + 1)?;
                    Named { presence: None, what: What::Record(inner) }
                }
            };
            names.insert(name.to_string(), named);
        }
        Ok(names)
    }

    /// Loads the attributes that rules read of the record at an offset of a state.
    fn fields(
        &mut self,
        state: State,
        base: u32,
        record: &Record,
        attributes: &[Attribute],
    ) -> Result<Names> {
        let mut names = Names::new();
        for attribute in attributes {
            let field = &record.fields[attribute.index];
            let at = base + field.offset;
            let named = match &field.ty {
                Type::Option(payload) => {
                    let (offset, _) = option_layout(payload);
                    self.option(
                        |skip| Load::FieldOption(state, at, skip),
                        |loads| loads.field(state, at + offset, payload, &attribute.shape),
                    )?
                }
                ty => Named { presence: None, what: self.field(state, at, ty, &attribute.shape)? },
            };
            names.insert(attribute.name.clone(), named);
        }
        Ok(names)
    }

    fn field(&mut self, state: State, at: u32, ty: &Type, shape: &Shape) -> Result<What> {
        Ok(match (ty, shape) {
            (Type::Record(record), Shape::Record(attributes)) => {
                What::Record(self.fields(state, at, record, attributes)?)
            }
            _ => What::Value(self.fill(Load::Field(state, at, kind(ty)?))?),
        })
    }

    /// Loads an option: `look` for its presence, then its payload.
    fn option(
        &mut self,
        look: impl Fn(Skip) -> Load,
        payload: impl FnOnce(&mut Loads) -> Result<What>,
    ) -> Result<Named> {
        let (at, before) = (self.loads.len(), self.registers);
        self.loads.push(look(Skip::default()));
        let present = self.fill(Load::Present)?;
        let what = payload(self)?;
        let (loads, registers) = (self.loads.len() - at - 1, self.registers - before);
        debug_assert!(registers <= loads, "a register is filled by a load of its own");
        self.loads[at] = look(Skip { loads, registers });
        Ok(Named { presence: Some(present), what })
    }

    /// Reads through arguments, or the fields of one, and loads the attributes that rules read.
    fn arguments(&mut self, types: &[&Type], attributes: &[Attribute]) -> Result<Names> {
        let mut names = Names::new();
        for (index, ty) in types.iter().enumerate() {
            let read = attributes.iter().find(|attribute| attribute.index == index);
            let Some(attribute) = read else {
                self.loads.push(Load::Argument((*ty).clone(), None));
                continue;
            };
            let shape = &attribute.shape;
            let named = match ty {
                Type::Option(payload) => {
                    self.option(Load::ArgumentOption, |loads| loads.argument(payload, shape))?
                }
                ty => Named { presence: None, what: self.argument(ty, shape)? },
            };
            names.insert(attribute.name.clone(), named);
        }
        Ok(names)
    }

    fn argument(&mut self, ty: &Type, shape: &Shape) -> Result<What> {
        Ok(match (ty, shape) {
            (Type::Record(record), Shape::Record(attributes)) => {
                self.loads.push(Load::ArgumentRecord);
                let types: Vec<&Type> = record.fields.iter().map(|field| &field.ty).collect();
                What::Record(self.arguments(&types, attributes)?)
            }
            (ty, _) => What::Value(self.fill(Load::Argument(ty.clone(), Some(kind(ty)?)))?),
        })
    }
}

/// Returns the representation of a value of a type that rules see, other than a record.
fn kind(ty: &Type) -> Result<Kind> {
    Ok(match ty {
        Type::String => Kind::Text,
        Type::List(item) if matches!(**item, Type::U8) => Kind::Hex,
        Type::List(item) if matches!(**item, Type::String) => Kind::Texts,
        Type::List(item) => Kind::Scalars(scalar(item)?),
        Type::Flags(flags) => Kind::Flags(flags.clone(), width(ty)?),
        ty => Kind::Scalar(scalar(ty)?),
    })
}

fn scalar(ty: &Type) -> Result<Scalar> {
    Ok(match ty {
        Type::Bool => Scalar::Bool,
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Scalar::Unsigned(width(ty)?),
        Type::S8 | Type::S16 | Type::S32 | Type::S64 => Scalar::Signed(width(ty)?),
        Type::Char => Scalar::Char,
        Type::Enum(names) => Scalar::Enum(names.clone(), width(ty)?),
        _ => return Err(Uncompiled("a type that rules do not see")),
    })
}

fn width(ty: &Type) -> Result<usize> {
    let width = scalar_width(ty).ok_or(Uncompiled("a type that rules do not see"))?;
    Ok(width as usize)
}

/// The value of an expression that is the same for all facts, if it is known.
type Known = Option<bool>;

struct Compiler<'a> {
    action: &'a str,
    context: &'a Names,
    program: Program,
    ops_max: usize,
    /// Values on the stack behind the last operation.
    depth: isize,
}

impl<'a> Compiler<'a> {
    /// Adds a rule, unless it cannot be satisfied.
    fn rule(&mut self, id: usize, rule: &Template) -> Result<()> {
        let start = self.program.ops.len();
        self.depth = 0;
        let known = self.expr(&condition(rule))?;
        debug_assert_eq!(self.depth, 1, "a condition leaves one value");
        if known == Some(false) {
            self.program.ops.truncate(start);
            return Ok(());
        }
        let (permits, end) = (rule.effect == Effect::Permit, self.program.ops.len());
        self.program.rules.push(Rule { permits, id, end, always: known == Some(true) });
        Ok(())
    }

    fn emit(&mut self, op: Op) -> Result<usize> {
        self.depth += op.growth();
        if self.depth > STACK_MAX as isize {
            return Err(Uncompiled("an expression deeper than a program's stack"));
        }
        if self.program.ops.len() >= self.ops_max {
            return Err(Uncompiled("more rules for more actions than programs have room for"));
        }
        self.program.ops.push(op);
        Ok(self.program.ops.len() - 1)
    }

    /// Sets the target of the jump at `jump` to the next operation.
    fn land(&mut self, jump: usize) {
        let here = self.program.ops.len() as u32;
        debug_assert!(jump < here as usize, "jumps go forward");
        match &mut self.program.ops[jump] {
            Op::JumpIfFalse(target) | Op::JumpIfTrue(target) => *target = here,
            Op::Branch(target) | Op::Jump(target) => *target = here,
            _ => unreachable!("only jumps land"),
        }
    }

    /// Takes back the last operation, which left a value that is known.
    fn take_back(&mut self) {
        let taken = self.program.ops.pop();
        debug_assert!(matches!(taken, Some(Op::Bool(_))), "a known value is left by one operation");
        self.depth -= 1;
    }

    fn known(&mut self, value: bool) -> Result<Known> {
        self.emit(Op::Bool(value))?;
        Ok(Some(value))
    }

    fn unknown(&mut self, op: Op) -> Result<Known> {
        self.emit(op)?;
        Ok(None)
    }

    /// Compiles an expression. A known value is left by one operation.
    fn expr(&mut self, expr: &Expr) -> Result<Known> {
        if let Some(what) = self.what(expr)? {
            return match what {
                What::Value(register) => self.unknown(Op::Register(*register)),
                What::Record(_) => Err(Uncompiled("a record as a value")),
            };
        }
        match expr {
            Expr::Literal(CedarLiteral::Bool(value)) => self.known(*value),
            Expr::Literal(CedarLiteral::Long(value)) => self.unknown(Op::Long(*value)),
            Expr::Literal(value) => {
                let index = push(&mut self.program.literals, literal(value)?)?;
                self.unknown(Op::Literal(index))
            }
            Expr::Var(Var::Principal) => self.unknown(Op::Principal),
            Expr::Var(Var::Action) => self.unknown(Op::Action),
            Expr::Var(Var::Resource) => self.unknown(Op::Resource),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right),
            Expr::HasAttr { expr, attrs } => match (&**expr, path(expr)) {
                // No entity has attributes.
                (Expr::Var(Var::Principal | Var::Action | Var::Resource), _) => self.known(false),
                (_, Some(path)) => {
                    let attrs: Vec<&str> = attrs.iter().map(|attr| attr.as_str()).collect();
                    self.has(self.record(&path)?, &attrs)
                }
                _ => Err(Uncompiled("`has` of something other than the context")),
            },
            Expr::Like { expr, pattern } => {
                self.expr(expr)?;
                let index = push(&mut self.program.patterns, bytes(pattern))?;
                self.unknown(Op::Like(index))
            }
            Expr::Is { expr, entity_type, in_expr: None } => self.is(expr, entity_type),
            Expr::Is { expr, entity_type, in_expr: Some(within) } => self.chain(
                false,
                |it| it.is(expr, entity_type),
                |it| it.binary(BinaryOp::In, expr, within),
            ),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                self.conditional(cond, then_expr, else_expr)
            }
            Expr::Set(items) => {
                if items.is_empty() {
                    return Err(Uncompiled("an empty set"));
                }
                let items = items.iter().map(|item| match &**item {
                    Expr::Literal(value) => literal(value),
                    _ => Err(Uncompiled("a set with an item that is not a literal")),
                });
                let set = items.collect::<Result<_>>()?;
                let index = push(&mut self.program.sets, set)?;
                self.unknown(Op::Set(index))
            }
            Expr::Record(_) => Err(Uncompiled("a record as a value")),
            Expr::GetAttr { .. } | Expr::Var(_) => {
                Err(Uncompiled("an attribute of something other than the context"))
            }
            _ => Err(Uncompiled("an expression that rules do not have")),
        }
    }

    /// Returns the value or record at a path from the context, if the expression is such a path.
    fn what(&self, expr: &Expr) -> Result<Option<&'a What>> {
        let Some(path) = path(expr) else { return Ok(None) };
        let Some((last, records)) = path.split_last() else {
            return Err(Uncompiled("a record as a value"));
        };
        let named = self.record(records)?.get(*last);
        let named = named.ok_or(Uncompiled("an attribute that the action does not have"))?;
        Ok(Some(&named.what))
    }

    /// The attributes of the record that a path from the context leads to.
    fn record(&self, path: &[&str]) -> Result<&'a Names> {
        let mut names = self.context;
        for name in path {
            match names.get(*name).map(|named| &named.what) {
                Some(What::Record(inner)) => names = inner,
                _ => return Err(Uncompiled("an attribute that the action does not have")),
            }
        }
        Ok(names)
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr) -> Result<Known> {
        if let (UnaryOp::Not, Expr::BinaryOp { op, left, right }) = (op, operand)
            && let Some(opposite) = opposite(*op)
        {
            return self.binary(opposite, left, right);
        }
        let known = self.expr(operand)?;
        match (op, known) {
            (UnaryOp::Not, Some(value)) => {
                self.take_back();
                self.known(!value)
            }
            (UnaryOp::Not, None) => self.unknown(Op::Not),
            (UnaryOp::Neg, _) => self.unknown(Op::Negate),
            (UnaryOp::IsEmpty, _) => self.unknown(Op::IsEmpty),
            _ => Err(Uncompiled("an extension type")),
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) -> Result<Known> {
        let op = match op {
            BinaryOp::And | BinaryOp::Or => {
                let end = op == BinaryOp::Or;
                return self.chain(end, |it| it.expr(left), |it| it.expr(right));
            }
            BinaryOp::Eq => Binary::Equal,
            BinaryOp::NotEq => Binary::NotEqual,
            BinaryOp::Less => Binary::Less,
            BinaryOp::LessEq => Binary::LessEqual,
            BinaryOp::Greater => Binary::Greater,
            BinaryOp::GreaterEq => Binary::GreaterEqual,
            BinaryOp::Add => Binary::Add,
            BinaryOp::Sub => Binary::Subtract,
            BinaryOp::Mul => Binary::Multiply,
            BinaryOp::In => Binary::In,
            BinaryOp::Contains => Binary::Contains,
            BinaryOp::ContainsAll => Binary::ContainsAll,
            BinaryOp::ContainsAny => Binary::ContainsAny,
            _ => return Err(Uncompiled("tags, or an extension type")),
        };
        match (op, left, right) {
            (Binary::Equal | Binary::In, Expr::Var(Var::Action), Expr::Literal(other)) => {
                return self.known(self.is_action(other));
            }
            (Binary::NotEqual, Expr::Var(Var::Action), Expr::Literal(other)) => {
                return self.known(!self.is_action(other));
            }
            (Binary::In, Expr::Var(Var::Action), Expr::Set(others)) => {
                let is = |other: &Arc<Expr>| match &**other {
                    Expr::Literal(other) => self.is_action(other),
                    _ => false,
                };
                if others.iter().all(|other| matches!(**other, Expr::Literal(_))) {
                    let found = others.iter().any(is);
                    return self.known(found);
                }
            }
            _ => {}
        }
        if let (Some(What::Value(left)), Some(What::Value(right))) =
            (self.what(left)?, self.what(right)?)
        {
            return self.unknown(Op::OnRegisters(op, *left, *right));
        }
        self.expr(left)?;
        self.expr(right)?;
        self.unknown(Op::Binary(op))
    }

    fn is_action(&self, other: &CedarLiteral) -> bool {
        matches!(other, CedarLiteral::EntityUID(uid) if is_action(uid, self.action))
    }

    /// `&&`, or `||`: where the left is `end`, so is the whole, and the right is not looked at.
    fn chain(
        &mut self,
        end: bool,
        left: impl FnOnce(&mut Self) -> Result<Known>,
        right: impl FnOnce(&mut Self) -> Result<Known>,
    ) -> Result<Known> {
        match left(self)? {
            Some(value) if value == end => Ok(Some(end)),
            Some(_) => {
                self.take_back();
                right(self)
            }
            None => {
                let jump = self.emit(if end { Op::JumpIfTrue(0) } else { Op::JumpIfFalse(0) })?;
                right(self)?;
                self.land(jump);
                Ok(None)
            }
        }
    }

    fn conditional(&mut self, condition: &Expr, then: &Expr, or: &Expr) -> Result<Known> {
        if let Some(value) = self.expr(condition)? {
            self.take_back();
            return self.expr(if value { then } else { or });
        }
        let branch = self.emit(Op::Branch(0))?;
        self.expr(then)?;
        let jump = self.emit(Op::Jump(0))?;
        // One of the two leaves a value.
        self.depth -= 1;
        self.land(branch);
        self.expr(or)?;
        self.land(jump);
        Ok(None)
    }

    /// Tests whether the attributes exist, each in the record of the one before.
    fn has(&mut self, names: &'a Names, attrs: &[&str]) -> Result<Known> {
        let Some((first, rest)) = attrs.split_first() else { return self.known(true) };
        let Some(named) = names.get(*first) else { return self.known(false) };
        let is_there = |it: &mut Self| match named.presence {
            Some(register) => it.unknown(Op::Has(register)),
            None => it.known(true),
        };
        match &named.what {
            _ if rest.is_empty() => is_there(self),
            What::Record(inner) => self.chain(false, is_there, |it| it.has(inner, rest)),
            What::Value(_) => Err(Uncompiled("an attribute of a value")),
        }
    }

    fn is(&mut self, expr: &Expr, ty: &CedarType) -> Result<Known> {
        let ty = entity_type(ty).ok_or(Uncompiled("an entity of a type that there is not"))?;
        match expr {
            Expr::Var(Var::Action) => self.known(ty == EntityType::Action),
            Expr::Var(Var::Resource) => self.known(ty == EntityType::Object),
            _ => {
                self.expr(expr)?;
                self.unknown(Op::Is(ty))
            }
        }
    }
}

/// The comparison that holds where another does not. Cedar's trees have only the three of them
/// that are not the opposite of one.
pub(super) fn opposite(op: BinaryOp) -> Option<BinaryOp> {
    match op {
        BinaryOp::Eq => Some(BinaryOp::NotEq),
        BinaryOp::Less => Some(BinaryOp::GreaterEq),
        BinaryOp::LessEq => Some(BinaryOp::Greater),
        _ => None,
    }
}

/// Adds to a list that operations have an index into.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<u16> {
    let index = u16::try_from(list.len()).map_err(|_| Uncompiled("too many literals"))?;
    list.push(item);
    Ok(index)
}

fn literal(value: &CedarLiteral) -> Result<Literal> {
    Ok(match value {
        CedarLiteral::Bool(value) => Literal::Bool(*value),
        CedarLiteral::Long(value) => Literal::Long(*value),
        CedarLiteral::String(text) => Literal::Text(text.to_string()),
        CedarLiteral::EntityUID(uid) => {
            let ty = entity_type(&uid.ty);
            let ty = ty.ok_or(Uncompiled("an entity of a type that there is not"))?;
            Literal::Entity(ty, uid.eid.to_string())
        }
        _ => return Err(Uncompiled("an extension type")),
    })
}

fn is_action(uid: &EntityUID, action: &str) -> bool {
    entity_type(&uid.ty) == Some(EntityType::Action) && uid.eid == action
}

fn entity_type(ty: &CedarType) -> Option<EntityType> {
    if !ty.0.namespace.is_empty() {
        return None;
    }
    match ty.0.id.as_str() {
        "Key" => Some(EntityType::Key),
        "Anonymous" => Some(EntityType::Anonymous),
        "Object" => Some(EntityType::Object),
        "Action" => Some(EntityType::Action),
        _ => None,
    }
}

fn bytes(pattern: &[PatternElem]) -> Vec<Option<u8>> {
    let mut bytes = Vec::new();
    for element in pattern {
        match element {
            PatternElem::Wildcard => bytes.push(None),
            PatternElem::Char(char) => {
                bytes.extend(char.encode_utf8(&mut [0; 4]).bytes().map(Some));
            }
        }
    }
    bytes
}

/// Returns the condition under which a rule that may apply is satisfied.
fn condition(rule: &Template) -> Expr {
    let all = conditions(rule).into_iter().reduce(|all, part| binary(BinaryOp::And, all, part));
    all.unwrap_or(Expr::Literal(CedarLiteral::Bool(true)))
}

/// Returns the conditions which a rule that may apply is satisfied by all of, in the order in which
/// Cedar evaluates them.
pub(super) fn conditions(rule: &Template) -> Vec<Expr> {
    let mut parts = Vec::new();
    let is = |var, ty: &CedarType, within: Option<Expr>| Expr::Is {
        expr: Arc::new(Expr::Var(var)),
        entity_type: ty.clone(),
        in_expr: within.map(Arc::new),
    };
    match &rule.principal {
        PrincipalConstraint::Any => {}
        PrincipalConstraint::Eq(uid) => parts.push(relate(BinaryOp::Eq, Var::Principal, uid)),
        PrincipalConstraint::In(uid) => parts.push(relate(BinaryOp::In, Var::Principal, uid)),
        PrincipalConstraint::Is(ty) => parts.push(is(Var::Principal, ty, None)),
        PrincipalConstraint::IsIn(ty, uid) => {
            parts.push(is(Var::Principal, ty, Some(entity_or_slot(uid))));
        }
    }
    match &rule.resource {
        ResourceConstraint::Any => {}
        ResourceConstraint::Eq(uid) => parts.push(relate(BinaryOp::Eq, Var::Resource, uid)),
        ResourceConstraint::In(uid) => parts.push(relate(BinaryOp::In, Var::Resource, uid)),
        ResourceConstraint::Is(ty) => parts.push(is(Var::Resource, ty, None)),
        ResourceConstraint::IsIn(ty, uid) => {
            parts.push(is(Var::Resource, ty, Some(entity_or_slot(uid))));
        }
    }
    parts.extend(rule.clauses().iter().map(|clause| match clause {
        Clause::When(expr) => (**expr).clone(),
        Clause::Unless(expr) => Expr::UnaryOp { op: UnaryOp::Not, expr: Arc::clone(expr) },
    }));
    parts
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { op, left: Arc::new(left), right: Arc::new(right) }
}

fn relate(op: BinaryOp, var: Var, uid: &EntityOrSlot) -> Expr {
    binary(op, Expr::Var(var), entity_or_slot(uid))
}

fn entity_or_slot(entity_or_slot: &EntityOrSlot) -> Expr {
    match entity_or_slot {
        EntityOrSlot::Entity(uid) => Expr::Literal(CedarLiteral::EntityUID(uid.clone())),
        EntityOrSlot::Slot(slot) => Expr::Slot(*slot),
    }
}
