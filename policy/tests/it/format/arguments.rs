//! A ledger's memory of arguments: entries and changes, walked by their tables.

use std::sync::Arc;

use object::credential::PublicKey;
use object::hash::{HASH_BYTES, LedgerHash, LedgerLeaf, LedgerValue};
use object::input::{Input, Request};
use object::ledger::{Argument, Class, Keep, Ledger, ReadArguments, Tracked, TrackedArgument};
use object::time::Time;

use super::check;
use super::encodings::{Fields, blob, bytes, count, number};

pub(super) const TABLES: &[&str] =
    &["Argument", "Amount", "Seen value", "Argument change", "Amounts change", "Values change"];

/// Calls whose arguments are a number and a text, both of the text's first byte.
#[derive(Debug)]
struct Calls;

impl ReadArguments for Calls {
    fn read<'a>(&'a self, _: &str, name: &str, arguments: &'a [u8]) -> Option<Argument<'a>> {
        match name {
            "amount" => Some(Argument::Integer(i128::from(i8::from_le_bytes([arguments[0]])))),
            "open" => Some(Argument::Bool(arguments[0] == 1)),
            _ => Some(Argument::Text(std::str::from_utf8(&arguments[1..]).unwrap())),
        }
    }
}

fn asked(argument: &str, class: Class) -> TrackedArgument {
    let is_sum = class == Class::Integer;
    TrackedArgument {
        action: "pay".to_string(),
        argument: argument.to_string(),
        class,
        total: is_sum,
        amounts: is_sum,
        last: true,
        values: if is_sum { Keep::Nothing } else { Keep::Ever },
        signed: if is_sum { Keep::Nothing } else { Keep::Day },
    }
}

fn tracked() -> Tracked {
    let arguments =
        [asked("amount", Class::Integer), asked("open", Class::Bool), asked("to", Class::Text)];
    Tracked::new(["pay".to_string()], false).reading(arguments, Arc::new(Calls))
}

const SIGNER: PublicKey = PublicKey([7; 32]);

fn pay(ledger: &Arc<Ledger>, seq: u64, time: u64, amount: i8, to: &str) -> Arc<Ledger> {
    let arguments = [&amount.to_le_bytes()[..], to.as_bytes()].concat();
    let request = Request::Call { method: "pay".to_string(), arguments };
    let input = Input { request, time: Time::from_millis(time), credential: None };
    ledger.next(&tracked(), seq, &input, &[SIGNER])
}

fn amount(seq: u64, time: u64, amount: u64) -> Vec<u8> {
    let fields = vec![("seq", number(seq)), ("time", number(time)), ("amount", number(amount))];
    let entry = bytes(&fields);
    check("Amount", &entry, fields);
    entry
}

/// The hash of a value as FORMAT.md says it.
fn value(class: u8, signer: Option<PublicKey>, content: &[u8]) -> Vec<u8> {
    let signer = signer.map_or(Vec::new(), |key| key.0.to_vec());
    let content = blake3::hash(content);
    let covered = [&[class][..], &signer, content.as_bytes()].concat();
    blake3::derive_key("continuant 2 ledger value", &covered).to_vec()
}

fn seen(value: Vec<u8>, time: u64) -> Vec<u8> {
    let fields = vec![("value", value), ("time", number(time))];
    let entry = bytes(&fields);
    check("Seen value", &entry, fields);
    entry
}

/// The count of a list's entries, and their root.
fn list(names: [&'static str; 3], entries: &[Vec<u8>]) -> Fields {
    let mut fields = vec![(names[0], count(entries.len()))];
    fields.extend(
        (!entries.is_empty()).then(|| (names[1], LedgerLeaf::of(&entries.concat()).0.to_vec())),
    );
    fields.push((names[2], vec![0]));
    fields
}

fn argument(name: &str, class: u8, total: u64, rest: Fields) -> [u8; HASH_BYTES] {
    let mut fields = blob("action bytes", "action", b"pay").to_vec();
    fields.extend(blob("argument bytes", "argument", name.as_bytes()));
    fields.extend([("class", vec![class]), ("total", number(total))]);
    fields.extend(rest);
    let entry = bytes(&fields);
    check("Argument", &entry, fields);
    LedgerLeaf::of(&entry).0
}

const AMOUNTS: [&str; 3] = ["amounts", "amount root", "has amount floor"];
const VALUES: [&str; 3] = ["values", "value root", "has value floor"];
const SIGNED: [&str; 3] = ["signed", "signed root", "has signed floor"];

#[test]
fn ledger_of_arguments() {
    let ledger = Arc::new(Ledger::default());
    let ledger = pay(&pay(&ledger, 3, 1000, 5, "ada"), 4, 2000, -2, "ben");
    let ledger = pay(&ledger, 6, 3000, 1, "ada");
    let mut fields = list(AMOUNTS, &[amount(3, 1000, 5), amount(4, 2000, 0), amount(6, 3000, 1)]);
    fields.extend([("last kind", vec![1]), ("last number", count(1))]);
    fields.extend(list(VALUES, &[]).into_iter().chain(list(SIGNED, &[])));
    let of_amount = argument("amount", 0, u64::MAX, fields);
    let lists = |class: u8, values: [(&[u8], u64); 2]| {
        let of = |signer: Option<PublicKey>| {
            let entries = values.map(|(content, time)| (value(class, signer, content), time));
            let mut entries = entries.map(|(value, time)| seen(value, time)).to_vec();
            entries.sort();
            entries
        };
        let signed = list(SIGNED, &of(Some(SIGNER)));
        list(VALUES, &of(None)).into_iter().chain(signed).collect::<Vec<_>>()
    };
    let mut fields = list(AMOUNTS, &[]);
    fields.extend([("last kind", vec![1]), ("last number", count(1))]);
    fields.extend(lists(1, [(&[0], 2000), (&[1], 3000)]));
    let of_open = argument("open", 1, 0, fields);
    let mut fields = list(AMOUNTS, &[]);
    fields.push(("last kind", vec![3]));
    fields.extend(blob("last bytes", "last text", b"ada"));
    fields.extend(lists(2, [(b"ada", 3000), (b"ben", 2000)]));
    let of_to = argument("to", 2, 0, fields);
    // Behind the roots of the other tables, of which there is one action.
    let mut covered = vec![("nonces", count(0)), ("floors", vec![0]), ("actions", count(1))];
    let mut action = blob("action bytes", "action", b"pay").to_vec();
    action.extend([("count", number(3)), ("seq", number(6)), ("last", number(3000))]);
    action.push(("recents", count(0)));
    covered.push(("action hash", LedgerLeaf::of(&bytes(&action)).0.to_vec()));
    covered.extend([("sessions", count(0)), ("arguments", count(3))]);
    covered.extend([of_amount, of_open, of_to].map(|hash| ("argument hash", hash.to_vec())));
    let all = bytes(&covered);
    check("Ledger", &all, covered);
    assert_eq!(LedgerHash::of(&all), ledger.hash());
    let found = Argument::Text("ada").value_hash(Some(&SIGNER));
    assert_eq!(found, LedgerValue(value(2, Some(SIGNER), b"ada").try_into().unwrap()));
}

/// The changes of some amounts: those at these places are gone, and these are new.
fn amounts_change(gone: &[usize], newer: &[(u64, u64, u64)]) -> Vec<u8> {
    let mut fields = vec![("gone", count(gone.len()))];
    fields.extend(gone.iter().flat_map(|gap| [("amount place", count(*gap)), ("zero", vec![0])]));
    fields.push(("newer", count(newer.len())));
    for (seq, time, amount) in newer {
        let numbers = [("seq", *seq), ("time", *time), ("amount", *amount)];
        fields.extend(numbers.map(|(name, value)| (name, count(value as usize))));
    }
    fields.push(("has floor", vec![0]));
    let change = bytes(&fields);
    check("Amounts change", &change, fields);
    change
}

fn values_change(changed: &[(usize, u64)], new: &[(Vec<u8>, u64)]) -> Vec<u8> {
    let mut fields = vec![("changed values", count(changed.len()))];
    for (gap, advance) in changed {
        let advance = count(*advance as usize);
        fields.extend([("value place", count(*gap)), ("time advance", advance)]);
    }
    fields.push(("new values", count(new.len())));
    let mut new = new.to_vec();
    new.sort();
    for (value, time) in new {
        fields.extend([("value", value), ("time", count(time as usize))]);
    }
    fields.push(("has floor", vec![0]));
    let change = bytes(&fields);
    check("Values change", &change, fields);
    change
}

fn change(fields: Fields) -> Vec<u8> {
    let change = bytes(&fields);
    check("Argument change", &change, fields);
    change
}

#[test]
fn changes_of_arguments() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let base = pay(&Arc::new(Ledger::default()), 3, 1000, 1, "ada");
    let ledger = pay(&base, 5, DAY + 1000, 1, "ben");
    let mut fields = vec![("changed nonces", count(0)), ("new nonces", count(0))];
    fields.extend([("floors", vec![0]), ("changed actions", count(1))]);
    fields.extend([("action place", count(0)), ("more", count(1)), ("seq advance", count(2))]);
    fields.extend([("last advance", count(DAY as usize)), ("gone", count(0))]);
    fields.extend([("newer", count(0)), ("newer recent", Vec::new()), ("new actions", count(0))]);
    fields.extend([("changed sessions", count(0)), ("new sessions", count(0))]);
    fields.push(("changed arguments", count(3)));
    let amounts = amounts_change(&[0], &[(5, DAY + 1000, 1)]);
    let mut parts = vec![("parts", vec![3]), ("total", count(2))];
    parts.extend(blob("amounts bytes", "amounts", &amounts));
    let mut push = |gap: usize, change: Vec<u8>| {
        fields.push(("argument place", count(gap)));
        fields.extend(blob("change bytes", "change", &change));
    };
    push(0, change(parts));
    // The value is the same, of a signer it was forgotten and is new.
    let mut parts = vec![("parts", vec![24])];
    parts.extend(blob("values bytes", "values", &values_change(&[(0, DAY)], &[])));
    let signed = values_change(&[(0, DAY)], &[]);
    parts.extend(blob("signed bytes", "signed", &signed));
    push(0, change(parts));
    let mut parts = vec![("parts", vec![28]), ("last kind", vec![3])];
    parts.extend(blob("last bytes", "last text", b"ben"));
    let new = |signer| [(value(2, signer, b"ben"), DAY + 1000)];
    parts.extend(blob("values bytes", "values", &values_change(&[], &new(None))));
    let signed = values_change(&[(0, 0)], &new(Some(SIGNER)));
    parts.extend(blob("signed bytes", "signed", &signed));
    push(0, change(parts));
    fields.push(("new arguments", count(0)));
    let changes = ledger.changes(&base);
    check("Ledger changes", &changes, fields);
    assert_eq!(base.changed_by(&changes).unwrap(), *ledger);
    // Written whole, arguments are changes since nothing.
    let whole = base.encode();
    let new = super::walk("Ledger changes", &whole);
    let names = ["action", "argument", "class", "change"];
    let new: Vec<Vec<&[u8]>> = names
        .iter()
        .map(|name| {
            let of_it = new.iter().skip_while(|(field, _)| field != "new arguments");
            of_it.filter(|(field, _)| field == name).map(|(_, bytes)| &bytes[..]).collect()
        })
        .collect();
    assert_eq!(new[0], [b"pay"; 3]);
    assert_eq!(new[1], [&b"amount"[..], b"open", b"to"]);
    assert_eq!(new[2], [[0], [1], [2]]);
    let mut parts = vec![("parts", vec![7]), ("total", count(1))];
    parts.extend(blob("amounts bytes", "amounts", &amounts_change(&[], &[(3, 1000, 1)])));
    parts.extend([("last kind", vec![1]), ("last number", count(1))]);
    assert_eq!(new[3][0], change(parts));
}
