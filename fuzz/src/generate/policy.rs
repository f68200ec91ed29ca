//! Cedar text: rules drawn from a grammar, mutations of the guests' policies, and text that is deep
//! or long beyond the profile.
//!
//! It does not know which texts are valid.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::GUESTS;
use crate::generate::bytes::mutate_text;

/// Words that are put into texts.
pub(crate) const WORDS: &[&str] = &[
    "permit",
    "forbid",
    "when",
    "unless",
    "principal",
    "action",
    "resource",
    "context",
    "true",
    "false",
    "if",
    "then",
    "else",
    "in",
    "has",
    "like",
    "is",
    "&&",
    "||",
    "!",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ":",
    "::",
    ".",
    "@id",
    "\"",
    "\\",
    "//",
    "\n",
    "0",
    "9223372036854775807",
    "9223372036854775808",
    "-",
    "\"a\"",
    "contains",
    "containsAll",
    "isEmpty",
    "decimal",
    "ip",
    "Object",
    "Key",
    "Action",
    "Anonymous",
    "__cedar",
    "template",
    "?principal",
    "é",
    "\u{0}",
    "\u{feff}",
];
/// Paths of numbers that the counter's context has.
const NUMBERS: &[&str] = &[
    "context.before.count",
    "context.after.count",
    "context.lineage.seq",
    "context.lineage.age",
    "context.cost.fuel",
    "context.cost.pages",
    "context.time",
    "context.input.by",
    "principal",
    "context",
];

/// Some text.
pub(crate) fn text(rng: &mut StdRng) -> String {
    match rng.random_range(0..10) {
        0..4 => rules(rng),
        4..7 => {
            let of = GUESTS[rng.random_range(0..GUESTS.len())].1;
            mutate_text(rng, of, WORDS)
        }
        7 => {
            let of = rules(rng);
            mutate_text(rng, &of, WORDS)
        }
        8 => deep(rng),
        _ => {
            (0..rng.random_range(0..60)).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect()
        }
    }
}

fn rules(rng: &mut StdRng) -> String {
    let mut text = String::new();
    for index in 0..rng.random_range(0..4) {
        let effect = if rng.random_bool(0.6) { "permit" } else { "forbid" };
        let action = match rng.random_range(0..4) {
            0 => "action == Action::\"increment\"",
            1 => "action in [Action::\"increment\", Action::\"write\"]",
            2 => "action == Action::\"write\"",
            _ => "action",
        };
        let principal = match rng.random_range(0..4) {
            0 => "principal is Object",
            1 => "principal is Key",
            _ => "principal",
        };
        // A drawn rule can often not hold.
        let dormant = if rng.random_bool(0.8) { " @dormant(\"drawn\")" } else { "" };
        text += &format!("@id(\"r{index}\"){dormant} {effect}({principal}, {action}, resource)");
        for _ in 0..rng.random_range(0..3) {
            let clause = if rng.random_bool(0.5) { "when" } else { "unless" };
            let depth = rng.random_range(0..5);
            text += &format!(" {clause} {{ {} }}", truth(rng, depth));
        }
        text += ";\n";
    }
    text
}

fn truth(rng: &mut StdRng, depth: u32) -> String {
    if depth == 0 {
        return ["true", "false", "context.signers.isEmpty()", "principal == resource"]
            [rng.random_range(0..4)]
        .to_string();
    }
    let mut next = || truth(rng, depth - 1);
    let (one, other) = (next(), next());
    match rng.random_range(0..7) {
        0 => format!("({one} && {other})"),
        1 => format!("{one} || {other}"),
        2 => format!("!({one})"),
        3 => format!("(if {one} then {other} else {one})"),
        _ => {
            let compare = ["<", "<=", "==", "!=", ">"][rng.random_range(0..5)];
            format!("{} {compare} {}", number(rng, depth - 1), number(rng, depth - 1))
        }
    }
}

fn number(rng: &mut StdRng, depth: u32) -> String {
    if depth == 0 || rng.random_bool(0.3) {
        return match rng.random_bool(0.6) {
            true => NUMBERS[rng.random_range(0..NUMBERS.len())].to_string(),
            false => (rng.random::<i64>() >> rng.random_range(0..64)).to_string(),
        };
    }
    let (one, other) = (number(rng, depth - 1), number(rng, depth - 1));
    let operator = ["+", "-", "*"][rng.random_range(0..3)];
    format!("({one} {operator} {other})")
}

/// Rules for a counter, and whether a policy of them may be taken: keys as they are written and as
/// people write them, attributes that there are and that are misspelt, rules that can hold and that
/// cannot.
pub(crate) fn suspects(rng: &mut StdRng) -> (String, bool) {
    let mut text = "@id(\"any\") permit(principal, action, resource);\n".to_string();
    let mut is_well = true;
    for index in 0..rng.random_range(1..4) {
        let forbids = rng.random_bool(0.5);
        let effect = if forbids { "forbid" } else { "permit" };
        let dormant = rng.random_bool(0.2);
        let of_a_unit = rng.random_bool(0.2);
        let mut annotation = if dormant { " @dormant(\"drawn\")" } else { "" }.to_string();
        annotation += if of_a_unit { " @unit(\"drawn\")" } else { "" };
        let (condition, may_hold) = match rng.random_range(0..5) {
            0 => {
                let (key, is_key) = key(rng);
                let (condition, evaded) = banned(rng, &key);
                is_well &= is_key && !(evaded && forbids);
                (condition, true)
            }
            1 => attribute(rng),
            4 => together(rng),
            2 => {
                let (condition, is_in_unit) = measured(rng);
                is_well &= is_in_unit || of_a_unit;
                (condition, true)
            }
            _ => {
                let (word, is_known) = [("session", true), ("sesion", false), ("Batch", false)]
                    [rng.random_range(0..3)];
                (format!("context.credential == \"{word}\""), is_known)
            }
        };
        is_well &= may_hold || dormant;
        text += &format!(
            "@id(\"r{index}\"){annotation} {effect}(principal, action, resource)\n\
             when {{ {condition} }};\n"
        );
    }
    (text, is_well)
}

/// A key as somebody writes it, and whether it is written as keys are.
fn key(rng: &mut StdRng) -> (String, bool) {
    let key = format!("{:032x}{:031x}f", rng.random::<u128>(), rng.random::<u128>() >> 4);
    match rng.random_range(0..8) {
        0 => (key.to_uppercase(), false),
        1 => (format!("0x{key}"), false),
        2 => (key[..rng.random_range(0..64)].to_string(), false),
        3 => (["ada", "", "owner", "0"][rng.random_range(0..4)].to_string(), false),
        4 => (key + "0", false),
        _ => (key, true),
    }
}

/// A condition on a key, and whether in a `forbid` a second signature evades it.
fn banned(rng: &mut StdRng, key: &str) -> (String, bool) {
    match rng.random_range(0..6) {
        0 => (format!("principal == Key::\"{key}\""), true),
        1 => (format!("principal is Key && [Key::\"{key}\"].contains(principal)"), true),
        2 => (format!("context.lineage.seq > 5 && principal in Key::\"{key}\""), true),
        3 => (format!("context.signers.containsAny([\"{key}\"])"), false),
        _ => (format!("context.signers.contains(\"{key}\")"), false),
    }
}

/// A condition on a number that has a unit, and whether it is in that.
fn measured(rng: &mut StdRng) -> (String, bool) {
    let operator = ["<", "<=", ">", ">=", "==", "!="][rng.random_range(0..6)];
    let (value, number, is_in_unit) = match rng.random_range(0..3) {
        0 => {
            let time = rng.random_range(946_684_800_000..=4_000_000_000_000_u64);
            match rng.random_range(0..3) {
                0 => ("context.time", time / 1000, false),
                1 => ("context.time", time * 1000, false),
                _ => ("context.time", time, true),
            }
        }
        1 => match rng.random_bool(0.5) {
            true => ("context.lineage.age", rng.random_range(1..1000), false),
            false => ("context.lineage.age", rng.random_range(1..100_000) * 1000, true),
        },
        _ => match rng.random_bool(0.5) {
            true => ("context.lineage.past.write.hour", rng.random_range(65..1000), false),
            false => ("context.lineage.past.write.hour", rng.random_range(1..=63), true),
        },
    };
    match rng.random_bool(0.5) {
        true => (format!("{value} {operator} {number}"), is_in_unit),
        false => (format!("{number} {operator} {value}"), is_in_unit),
    }
}

/// A condition on an attribute, and whether there is one.
fn attribute(rng: &mut StdRng) -> (String, bool) {
    let (condition, is_there) = [
        ("context has limit && context.limit > 5", false),
        ("context.before has cuont || context.lineage.seq > 5", false),
        ("context has sneder && context.sneder has code", false),
        ("context.effects has wake && context.effects.wake > 1700000000000", true),
        ("context.sender has code && context.lineage.seq > 5", true),
        ("context has input.by && context.input.by == 5", true),
        ("context.lineage.seq > 5 && false", false),
        ("action == Action::\"amend\" && action == Action::\"write\"", false),
        ("context.after.count == -1", false),
        ("context.after.count < 0", false),
        ("context.after.count >= 0 && context.lineage.seq > 5", true),
    ][rng.random_range(0..11)];
    (condition.to_string(), is_there)
}

/// Two or three conditions that are to hold together, and whether they may.
fn together(rng: &mut StdRng) -> (String, bool) {
    let value =
        ["context.lineage.seq", "context.after.count", "context.cost.fuel"][rng.random_range(0..3)];
    let (mut conditions, mut left) = (Vec::new(), (0..12).collect::<Vec<u64>>());
    for _ in 0..rng.random_range(2..4) {
        let number: u64 = rng.random_range(3..9);
        let operator = ["<", "<=", ">", ">=", "==", "!="][rng.random_range(0..6)];
        // As far as they matter here, all numbers are below 12.
        left.retain(|found| match operator {
            "<" => *found < number,
            "<=" => *found <= number,
            ">" => *found > number,
            ">=" => *found >= number,
            "==" => *found == number,
            _ => *found != number,
        });
        conditions.push(format!("{value} {operator} {number}"));
    }
    if rng.random_bool(0.2) {
        let either = conditions.join(" || ");
        return (format!("({either}) && !({either})"), false);
    }
    let negated = conditions.iter().map(|condition| format!("!({condition})"));
    let text = match rng.random_range(0..3) {
        0 => conditions.join(" && "),
        1 => format!("!({})", negated.collect::<Vec<_>>().join(" || ")),
        _ => format!("context.cost.pages > 1 && ({})", conditions.join(" && ")),
    };
    (text, !left.is_empty())
}

/// Draws nesting and chains around and far beyond the profile's limits.
fn deep(rng: &mut StdRng) -> String {
    let count =
        [8, 30, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000, 5000, 20_000][rng.random_range(0..14)];
    let inner = ["true", "1 == 1", "context.time", "[1]", "{a: 1}"][rng.random_range(0..5)];
    let (before, between, after) = [
        ("(", "", ")"),
        ("[", "", "]"),
        ("!", "", ""),
        ("-", "", ""),
        ("if true then ", "", " else false"),
        ("{a: ", "", "}"),
        ("true && ", "", ""),
        ("1 + ", "", ""),
        ("", ".a", ""),
        ("", "[\"a\"]", ""),
        ("", ".contains(1)", ""),
        ("true || (", "", ")"),
        ("!(", "", ")"),
        ("", "::a", ""),
    ][rng.random_range(0..14)];
    let body =
        format!("{}{inner}{}{}", before.repeat(count), between.repeat(count), after.repeat(count));
    format!("@id(\"deep\") permit(principal, action, resource) when {{ {body} }};")
}
