//! Every table of FORMAT.md against the code, up to the chapters about the log, which the crate
//! that writes it checks.
//!
//! - `arguments`: what a ledger remembers of arguments.
//! - `encodings`: the structures, walked by their tables.
//! - `lists`: codes, contexts, jumps, names and limits.
//! - `values`: payloads, the state in memory, and JSON.

mod arguments;
mod encodings;
mod lists;
mod values;

use std::collections::BTreeMap;

/// The document, up to the other crates' chapters.
fn document() -> &'static str {
    let text = include_str!("../../../object/FORMAT.md");
    text.split("\n## The log").next().unwrap()
}

/// A table: the heading that it is under, and its rows of cells without the heads.
#[derive(Debug)]
struct Table {
    heading: String,
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let (mut heading, mut open) = (String::new(), false);
    for line in document().lines() {
        if let Some(text) = line.strip_prefix('#') {
            heading = text.trim_start_matches('#').trim().to_string();
        }
        let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            open = false;
            continue;
        };
        let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().to_string()).collect();
        if !open {
            open = true;
            tables.push(Table { heading: heading.clone(), heads: cells, rows: Vec::new() });
        } else if !cells.iter().all(|cell| cell.trim_matches(':').chars().all(|c| c == '-')) {
            let table = tables.last_mut().unwrap();
            assert_eq!(cells.len(), table.heads.len(), "{line}");
            table.rows.push(cells);
        }
    }
    tables
}

fn table(heading: &str) -> Table {
    let mut found: Vec<Table> = tables();
    found.retain(|table| table.heading == heading);
    assert_eq!(found.len(), 1, "tables under {heading:?}");
    found.remove(0)
}

/// The cells of a table's columns, row by row.
fn rows<const N: usize>(heading: &str, heads: [&str; N]) -> Vec<[String; N]> {
    let table = table(heading);
    assert_eq!(table.heads, heads, "{heading}");
    table.rows.into_iter().map(|row| row.try_into().unwrap()).collect()
}

fn quoted(cell: &str) -> &str {
    cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).unwrap()
}

/// A field's name and bytes.
type Field = (String, Vec<u8>);

/// Takes an encoding apart as a table of fields says, from its first byte to its last.
fn walk(heading: &str, bytes: &[u8]) -> Vec<Field> {
    let table = table(heading);
    let fixed = table.heads == ["Offset", "Bytes", "Field", "Holds"];
    assert!(fixed || table.heads == ["When", "Bytes", "Field", "Holds"], "{heading}");
    let mut walk = Walk { bytes, at: 0, numbers: BTreeMap::new(), fields: Vec::new() };
    let mut rows = &table.rows[..];
    while let Some(row) = rows.first() {
        let same = rows.iter().take_while(|other| other[0] == row[0]).count();
        let (group, rest) = match row[0].strip_prefix("each of ") {
            Some(_) => rows.split_at(same),
            None => rows.split_at(1),
        };
        rows = rest;
        let times = match row[0].split_once(" = ") {
            _ if fixed => {
                assert_eq!(row[0].parse(), Ok(walk.at), "offset of {}", row[2]);
                1
            }
            None if row[0].contains(" has ") || row[0].contains(" > ") => walk.compares(&row[0]),
            Some((name, values)) => {
                let found = walk.numbers.get(name);
                let mut values = values.split(", ").map(|value| value.parse::<u64>().unwrap());
                u64::from(values.any(|value| found == Some(&value)))
            }
            None if row[0].is_empty() => 1,
            None if row[0] == "more" => u64::from(walk.at < bytes.len()),
            None => {
                let name = row[0].strip_prefix("each of ").unwrap();
                walk.numbers.get(name).copied().unwrap_or(0)
            }
        };
        for _ in 0..times {
            group.iter().for_each(|row| walk.take(&row[1], &row[2]));
        }
    }
    assert_eq!(walk.at, bytes.len(), "{heading} ends where its table does");
    walk.fields
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    numbers: BTreeMap<String, u64>,
    fields: Vec<Field>,
}

impl Walk<'_> {
    /// Returns how often a row is there whose condition is about a bit of a field, or its size.
    fn compares(&self, when: &str) -> u64 {
        let [name, sign, number] = [0, 1, 2].map(|at| when.rsplitn(3, ' ').nth(2 - at).unwrap());
        let (found, number) = (self.numbers[name], number.parse::<u64>().unwrap());
        u64::from(if sign == "has" { found & number != 0 } else { found > number })
    }

    fn take(&mut self, count: &str, name: &str) {
        let rest = &self.bytes[self.at..];
        let is_varint = ["varint", "gap"].contains(&count);
        let count = match count.parse::<usize>() {
            Ok(count) => count,
            Err(_) if is_varint => 1 + rest.iter().take_while(|byte| **byte >= 0x80).count(),
            Err(_) if count == "the rest" => rest.len(),
            Err(_) => match count.split_once(" x ") {
                Some((each, times)) => {
                    each.parse::<usize>().unwrap() * self.numbers[times] as usize
                }
                None => self.numbers[count] as usize,
            },
        };
        let bytes = &rest[..count];
        self.at += count;
        if is_varint {
            let add = |number, byte: &u8| number << 7 | u64::from(byte & 0x7f);
            self.numbers.insert(name.to_string(), bytes.iter().rev().fold(0, add));
        } else if count <= 8 {
            let mut number = [0; 8];
            number[..count].copy_from_slice(bytes);
            self.numbers.insert(name.to_string(), u64::from_le_bytes(number));
        }
        self.fields.push((name.to_string(), bytes.to_vec()));
    }
}

/// An encoding is, by its table, these fields.
#[track_caller]
fn check(heading: &str, bytes: &[u8], expected: Vec<(&str, Vec<u8>)>) {
    let expected: Vec<Field> =
        expected.into_iter().map(|(name, bytes)| (name.to_string(), bytes)).collect();
    let found = walk(heading, bytes);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{heading}");
    }
    assert_eq!(found.len(), expected.len(), "{heading}");
}

#[test]
fn no_table_is_without_a_check() {
    let mut found: Vec<String> = tables().into_iter().map(|table| table.heading).collect();
    let mut checked =
        [arguments::TABLES, encodings::TABLES, lists::TABLES, values::TABLES].concat();
    found.sort();
    checked.sort_unstable();
    assert_eq!(found, checked);
}

#[test]
fn the_document_is_about_the_size_of_the_header_that_there_is() {
    assert!(document().contains(&format!(
        "\n{} bytes; their hash is the version's.\n",
        object::header::HEADER_BYTES
    )));
}
