//! The profile: the part of Cedar that is total and bounded, recognized from the text alone.
//!
//! Cedar's parser, validator and evaluator recurse as deep as an expression is, and do not bound
//! it; a deep text would exhaust the stack, and the process would end. So the text is scanned
//! first, without recursion, and refused if it could need more than a fixed stack or a bounded
//! time.
//!
//! It does not know Cedar's grammar beyond tokens, brackets and operators, nor any schema. It may
//! accept text that Cedar then refuses; it splits accepted text into tokens as Cedar does.
//!
//! Invariant: an accepted expression is at most `POLICY_DEPTH_MAX` operators deep, by any mix of
//! brackets, chains, prefixes and accesses, and the tree that Cedar makes of it is at most a small
//! constant times that.
//!
//! Terms: a *chain* is the text between two separators (`,` `;` `:`) or brackets. Its *operators*
//! are its binary operators (`.` apart) and its `if`, `then` and `else`; the `when` and `unless`
//! clauses of a rule are a chain as well. A *run* is the prefixes (`!` `-`) and accesses (`.` `::`,
//! and brackets behind a value) of one operand. The *depth* of a chain is its operators plus the
//! deepest of its operands: the run and the brackets in it, each one deeper than inside.

mod written;

use std::collections::BTreeSet;
use std::ops::Range;

use object::Diagnostic;
use object::credential::PublicKey;
use object::limits::{
    PAST_ACTIONS_MAX, PAST_ARGUMENTS_MAX, POLICY_ACCESSES_MAX, POLICY_BYTES_MAX, POLICY_DEPTH_MAX,
    POLICY_LITERAL_BYTES_MAX, POLICY_NESTING_MAX, POLICY_OPERATORS_MAX, POLICY_TOKENS_MAX,
    RULES_MAX,
};

pub(super) use self::written::{Writ, Written, unknown_escape, written};
use crate::action::{IF_NAMED, Named};
use crate::argument::{Mention, NAMES_MAX};
use crate::fact::is_window;

/// Findings that are listed; a text with more is refused all the same.
pub(super) const FINDINGS_MAX: usize = 64;

/// The findings of a scan of a text within the profile.
pub(super) struct Scanned {
    /// The place of each rule, in order.
    pub(super) rules: Vec<Range<usize>>,
    /// The names of attributes behind `past`, the first of which are the actions whose past rules
    /// may read; and the optional actions (those that exist only if a policy names them) that stand
    /// anywhere in the text as `Action::"..."`.
    pub(super) named: Named,
    /// True if any name in the text is that of a time window, other than the window of an argument.
    pub(super) has_windows: bool,
    /// The keys that stand anywhere as a text of their digits.
    pub(super) keys: BTreeSet<PublicKey>,
}

/// Returns the key that a text spells: 64 digits, in lower case, as signers are written in facts.
fn key(token: &Token<'_>) -> Option<PublicKey> {
    let digits = token.text.strip_prefix('"')?.strip_suffix('"')?;
    let is_written = !digits.contains(|digit: char| digit.is_ascii_uppercase());
    digits.parse().ok().filter(|_| is_written)
}

/// Scans `text`; the errors are all parts that are outside the profile.
pub(super) fn scan(text: &str) -> Result<Scanned, Vec<Diagnostic>> {
    if text.len() > POLICY_BYTES_MAX {
        let message = format!("{} bytes of text: at most {POLICY_BYTES_MAX}", text.len());
        return Err(vec![Diagnostic::whole(message)]);
    }
    let mut scan = Scan::new(text);
    let outcome = scan.run();
    let mut findings = scan.findings;
    findings.extend(outcome.err());
    match findings.is_empty() {
        true => {
            let Scan { rules, past, mentions, has_windows, named, keys, .. } = scan;
            let named = Named { past, mentions, actions: named };
            Ok(Scanned { rules, named, has_windows, keys })
        }
        false => Err(findings),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Number,
    Text,
    Symbol,
}

#[derive(Debug, Clone)]
struct Token<'t> {
    kind: Kind,
    text: &'t str,
    span: Range<usize>,
}

impl Token<'_> {
    /// Returns whether a value may end here, so that `-`, `(` and `[` behind it belong to it.
    fn ends_a_value(&self) -> bool {
        match self.kind {
            Kind::Word => !matches!(
                self.text,
                "if" | "then" | "else" | "in" | "has" | "like" | "is" | "when" | "unless"
            ),
            Kind::Number | Kind::Text => true,
            Kind::Symbol => matches!(self.text, ")" | "]" | "}"),
        }
    }
}

/// Brackets that are open, or the text outside of all, and the chain being read in them.
#[derive(Debug, Default)]
struct Group {
    /// The bracket's place and its closing byte; none at the outermost level.
    open: Option<(usize, u8)>,
    /// Depth of the deepest chain that has ended.
    depth: usize,
    /// Operators of the chain.
    operators: usize,
    /// Depth of the deepest operand of the chain that has ended.
    deepest: usize,
    /// Depth of the operand.
    operand: usize,
    /// Prefixes and accesses of the operand.
    run: usize,
    /// True if the operand of the last or the next `is` is more than a name and its attributes.
    compound: bool,
    /// True if the chain's last operator is an `is` with a compound operand.
    compound_is: bool,
}

impl Group {
    fn end_operand(&mut self) {
        self.deepest = self.deepest.max(self.operand);
        (self.operand, self.run) = (0, 0);
    }

    fn end_chain(&mut self) {
        self.end_operand();
        self.depth = self.depth.max(self.operators + self.deepest);
        (self.operators, self.deepest) = (0, 0);
        (self.compound, self.compound_is) = (false, false);
    }
}

/// The names behind a `past`, as far as they are read.
#[derive(Debug)]
struct BehindPast {
    mention: Mention,
    /// True if the token that a name follows stands before.
    is_next: bool,
}

struct Scan<'t> {
    text: &'t str,
    /// First byte that is not yet a token.
    offset: usize,
    previous: Option<Token<'t>>,
    /// True if the previous token is an attribute's or a method's name.
    member: bool,
    outer: Group,
    inner: Vec<Group>,
    rules: Vec<Range<usize>>,
    /// The start of the rule being read.
    start: Option<usize>,
    past: BTreeSet<String>,
    mentions: Vec<Mention>,
    /// The actions and arguments that figures are asked of.
    arguments: BTreeSet<(String, String)>,
    has_windows: bool,
    /// The names behind `past`, while they are read.
    behind_past: Option<BehindPast>,
    /// The name before the last token, if that is a `.`.
    record: &'t str,
    named: Vec<&'static str>,
    keys: BTreeSet<PublicKey>,
    /// True if the tokens before are `Action::`.
    behind_action: bool,
    findings: Vec<Diagnostic>,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str) -> Scan<'t> {
        Scan {
            text,
            offset: 0,
            previous: None,
            member: false,
            outer: Group::default(),
            inner: Vec::new(),
            rules: Vec::new(),
            start: None,
            past: BTreeSet::new(),
            mentions: Vec::new(),
            arguments: BTreeSet::new(),
            has_windows: false,
            behind_past: None,
            record: "",
            named: Vec::new(),
            keys: BTreeSet::new(),
            behind_action: false,
            findings: Vec::new(),
        }
    }

    /// Reads to the end, or to a finding that makes the rest meaningless.
    fn run(&mut self) -> Result<(), Diagnostic> {
        let mut tokens_count = 0;
        while let Some(token) = self.next()? {
            tokens_count += 1;
            if tokens_count > POLICY_TOKENS_MAX {
                let message = format!("more than {POLICY_TOKENS_MAX} tokens");
                return Err(Diagnostic::at(token.span, message));
            }
            if self.findings.len() >= FINDINGS_MAX {
                return Ok(());
            }
            self.start.get_or_insert(token.span.start);
            self.take(&token)?;
            self.look_for_past(&token)?;
            self.look_for_actions(&token);
            self.keys.extend(key(&token));
            self.member = self.previous.as_ref().is_some_and(|token| token.text == ".");
            self.previous = Some(token);
        }
        match self.inner.last().and_then(|group| group.open) {
            Some((open, _)) => Err(Diagnostic::at(open..open + 1, "a bracket that is not closed")),
            None => Ok(()),
        }
    }

    fn look_for_past(&mut self, token: &Token<'t>) -> Result<(), Diagnostic> {
        let is_name = matches!(token.kind, Kind::Word | Kind::Text);
        let name = token.text.trim_matches('"');
        let (is_of_lineage, before) = (self.record == "lineage", self.previous.as_ref());
        let is_access = before.is_some_and(|before| token.text == "." && before.kind == Kind::Word);
        self.record = before.filter(|_| is_access).map_or("", |before| before.text);
        let mut window = is_name && is_window(name);
        match (self.behind_past.take(), token.text) {
            (Some(behind), "." | "[" | "has") if !behind.is_next => {
                self.behind_past = Some(BehindPast { is_next: true, ..behind });
            }
            (Some(behind), "]") if !behind.is_next => self.behind_past = Some(behind),
            (Some(behind), _) if behind.is_next && is_name => {
                window &= !self.mention(behind, (name, token.span.clone()))?;
            }
            _ if is_name && name == "past" => {
                let mention = Mention { names: Vec::new(), is_of_lineage };
                self.behind_past = Some(BehindPast { mention, is_next: false });
            }
            _ => {}
        }
        self.has_windows |= window;
        Ok(())
    }

    /// Adds a name to those behind `past`; returns whether it is the window of an argument.
    fn mention(
        &mut self,
        behind: BehindPast,
        (name, span): (&str, Range<usize>),
    ) -> Result<bool, Diagnostic> {
        let mut mention = behind.mention;
        let index = mention.names.len();
        mention.names.push((name.to_string(), span.clone()));
        if index == 0 {
            self.past.insert(name.to_string());
            if self.past.len() > PAST_ACTIONS_MAX {
                let message = format!("the past of more than {PAST_ACTIONS_MAX} actions");
                return Err(Diagnostic::at(span, message));
            }
        } else {
            // It goes on with this name.
            self.mentions.pop();
        }
        debug_assert!(mention.names.len() <= NAMES_MAX, "a mention ends with its window");
        let is_window = mention.has_window_at(index);
        self.mentions.push(mention.clone());
        if let Some((action, argument, _)) = mention.asked() {
            self.arguments.insert((action.to_string(), argument.to_string()));
        }
        if self.arguments.len() > PAST_ARGUMENTS_MAX {
            let message = format!("the past of more than {PAST_ARGUMENTS_MAX} arguments");
            return Err(Diagnostic::at(span, message));
        }
        if mention.names.len() < NAMES_MAX {
            self.behind_past = Some(BehindPast { mention, is_next: false });
        }
        Ok(is_window)
    }

    fn look_for_actions(&mut self, token: &Token<'t>) {
        let name = token.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let known = IF_NAMED.into_iter().find(|known| self.behind_action && name == Some(known));
        self.named.extend(known.filter(|known| !self.named.contains(known)));
        let before = self.previous.as_ref().map(|token| token.text);
        self.behind_action = token.text == "::" && before == Some("Action");
    }

    fn group(&mut self) -> &mut Group {
        self.inner.last_mut().unwrap_or(&mut self.outer)
    }

    fn find(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.findings.push(Diagnostic::at(span, message));
    }

    /// Counts one token.
    fn take(&mut self, token: &Token<'t>) -> Result<(), Diagnostic> {
        let value_before = self.previous.as_ref().is_some_and(Token::ends_a_value);
        let access = self.previous.as_ref().is_some_and(|token| matches!(token.text, "." | "::"));
        match (token.kind, token.text) {
            // Behind a dot, any word is an attribute's name.
            (Kind::Word, _) if access => {}
            (Kind::Word, "if" | "then" | "else") => self.operator(token, true),
            (Kind::Word, "in" | "has" | "like" | "is") => self.operator(token, false),
            (Kind::Word, _) => {}
            (Kind::Number, _) => self.group().compound = true,
            (Kind::Text, _) => {
                self.group().compound = true;
                if token.text.len() > POLICY_LITERAL_BYTES_MAX + 2 {
                    let found = token.text.len() - 2;
                    let message = format!(
                        "a string literal of {found} bytes: at most {POLICY_LITERAL_BYTES_MAX}"
                    );
                    self.find(token.span.clone(), message);
                }
            }
            (_, "(" | "[" | "{") => self.open(token, value_before)?,
            (_, ")" | "]" | "}") => self.close(token)?,
            (_, "," | ":" | "@") => self.group().end_chain(),
            (_, ";") => {
                self.group().end_chain();
                if self.inner.is_empty() {
                    self.end_rule(token)?;
                }
            }
            (_, "." | "::") => self.prefix_or_access(token),
            (_, "!") => self.prefix_or_access(token),
            (_, "-") if !value_before => self.prefix_or_access(token),
            (_, "&&" | "||") => self.operator(token, true),
            _ => self.operator(token, false),
        }
        Ok(())
    }

    /// A binary operator, or a word of a conditional; a `fresh` one stands between whole operands
    /// of `is`.
    fn operator(&mut self, token: &Token<'t>, fresh: bool) {
        let group = self.group();
        let compound = group.compound;
        let compound_is = group.compound_is;
        group.end_operand();
        group.operators += 1;
        group.compound = !fresh;
        group.compound_is = token.text == "is" && compound;
        if group.operators == POLICY_OPERATORS_MAX + 1 {
            let message = format!(
                "a chain of more than {POLICY_OPERATORS_MAX} operators: for one value among many \
                 write `[1, 2, 3].contains(value)`, and brackets or rules of their own for the rest"
            );
            self.find(token.span.clone(), message);
        }
        if token.text == "in" && compound_is {
            // Cedar evaluates the tested value twice; nested, that doubles with each level.
            let message = "`is` with `in` may only test a name or its attributes: \
                           test it with `is` and `in` apart";
            self.find(token.span.clone(), message);
        }
    }

    fn prefix_or_access(&mut self, token: &Token<'t>) {
        let group = self.group();
        group.operand += 1;
        group.run += 1;
        if group.run == POLICY_ACCESSES_MAX + 1 {
            let message = format!("a run of more than {POLICY_ACCESSES_MAX} prefixes or accesses");
            self.find(token.span.clone(), message);
        }
    }

    fn open(&mut self, token: &Token<'t>, value_before: bool) -> Result<(), Diagnostic> {
        if self.inner.len() >= POLICY_NESTING_MAX {
            let message = format!("brackets nested more than {POLICY_NESTING_MAX} deep");
            return Err(Diagnostic::at(token.span.clone(), message));
        }
        if self.inner.is_empty() && token.text == "{" {
            self.operator(token, true); // a clause
        } else if value_before {
            self.prefix_or_access(token);
            self.refuse_function(token);
        }
        let close = match token.text {
            "(" => b')',
            "[" => b']',
            _ => b'}',
        };
        let open = Some((token.span.start, close));
        self.inner.push(Group { open, ..Group::default() });
        Ok(())
    }

    /// Cedar has methods, but no function other than those that make values of extension types.
    fn refuse_function(&mut self, open: &Token<'t>) {
        let Some(name) = self.previous.clone() else { return };
        if open.text == "(" && name.kind == Kind::Word && !self.member && !self.inner.is_empty() {
            let message = format!("function `{}`: extension types are not supported", name.text);
            self.find(name.span, message);
        }
    }

    fn close(&mut self, token: &Token<'t>) -> Result<(), Diagnostic> {
        let closes = |group: &mut Group| {
            group.open.is_some_and(|(_, close)| token.text.as_bytes() == [close])
        };
        let Some(mut inner) = self.inner.pop_if(closes) else {
            let message = format!("`{}` closes no bracket", token.text);
            return Err(Diagnostic::at(token.span.clone(), message));
        };
        inner.end_chain();
        let group = self.group();
        group.compound = true;
        group.operand += inner.depth + 1;
        if group.operand > POLICY_DEPTH_MAX {
            group.operand = 0;
            let open = inner.open.map_or(0, |(open, _)| open);
            let message = format!("an expression more than {POLICY_DEPTH_MAX} operators deep");
            self.find(open..token.span.end, message);
        }
        Ok(())
    }

    fn end_rule(&mut self, token: &Token<'t>) -> Result<(), Diagnostic> {
        let start = self.start.take().unwrap_or(token.span.start);
        if std::mem::take(&mut self.outer.depth) > POLICY_DEPTH_MAX {
            let message = format!("a rule more than {POLICY_DEPTH_MAX} operators deep");
            self.find(start..token.span.end, message);
        }
        if self.rules.len() >= RULES_MAX {
            let message = format!("more than {RULES_MAX} rules");
            return Err(Diagnostic::at(start..token.span.end, message));
        }
        self.rules.push(start..token.span.end);
        Ok(())
    }

    /// The next token, behind blanks and comments.
    fn next(&mut self) -> Result<Option<Token<'t>>, Diagnostic> {
        self.skip_blanks();
        let rest = &self.text[self.offset..];
        let Some(first) = rest.bytes().next() else { return Ok(None) };
        let count = |wanted: fn(u8) -> bool| rest.bytes().take_while(|byte| wanted(*byte)).count();
        let (kind, bytes) = match first {
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                (Kind::Word, count(|byte| byte == b'_' || byte.is_ascii_alphanumeric()))
            }
            b'0'..=b'9' => (Kind::Number, count(|byte| byte.is_ascii_digit())),
            b'"' => (Kind::Text, self.text_bytes(rest)?),
            _ => (Kind::Symbol, self.symbol_bytes(rest)?),
        };
        let span = self.offset..self.offset + bytes;
        self.offset = span.end;
        Ok(Some(Token { kind, text: &self.text[span.clone()], span }))
    }

    fn skip_blanks(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.offset) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.offset += 1,
                b'/' if bytes.get(self.offset + 1) == Some(&b'/') => {
                    let line = bytes[self.offset..].iter();
                    self.offset += line.take_while(|byte| !matches!(byte, b'\r' | b'\n')).count();
                }
                _ => return,
            }
        }
    }

    /// Bytes of the string literal that `rest` starts with, its quotes included.
    fn text_bytes(&self, rest: &str) -> Result<usize, Diagnostic> {
        let mut chars = rest.char_indices().skip(1);
        while let Some((index, char)) = chars.next() {
            match char {
                '"' => return Ok(index + 1),
                '\\' => {
                    if let Some((_, '\n' | '\r')) = chars.next() {
                        let span = self.offset + index..self.offset + index + 1;
                        return Err(Diagnostic::at(span, "`\\` at the end of a line"));
                    }
                }
                _ => {}
            }
        }
        let message = "a string literal that is not closed";
        Err(Diagnostic::at(self.offset..self.text.len(), message))
    }

    fn symbol_bytes(&self, rest: &str) -> Result<usize, Diagnostic> {
        const SYMBOLS: [&str; 25] = [
            "::", "==", "!=", "<=", ">=", "||", "&&", "@", ".", ",", ";", ":", "(", ")", "{", "}",
            "[", "]", "<", ">", "+", "-", "*", "!", "=",
        ];
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            return Ok(symbol.len());
        }
        let first = rest.chars().next().unwrap_or_default();
        let span = self.offset..self.offset + first.len_utf8();
        Err(match first {
            '?' => {
                let word = rest[1..].bytes().take_while(|byte| byte.is_ascii_alphanumeric());
                let span = span.start..span.end + word.count();
                let message = "a template's slot: an object carries rules, not templates";
                Diagnostic::at(span, message)
            }
            _ => Diagnostic::at(span, format!("character {first:?} outside of a string")),
        })
    }
}
