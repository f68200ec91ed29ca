//! The chapters of `FORMAT.md` about the log, and the files: a reader that knows only their tables
//! walks a database that the store wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use continuant_storage::{Append, CapsuleReader, Contents, Fate, Retention, Store, Taking};
use object::hash::{AdmissionHash, EffectsHash, InputHash, ObjectId};
use object::header::Kind;
use object::secret::Secret;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, append, small};

/// A row of a table: when, bytes, field.
type Row = (String, String, String);

/// The rows of the table under `heading`.
fn table(heading: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../object/FORMAT.md");
    let text = fs::read_to_string(path).unwrap();
    let chapter = text.split("\n## The log\n").nth(1).unwrap();
    let section = chapter.split(&format!("\n### {heading}\n")).nth(1).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|--")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().to_string()).collect();
        (cells[1].clone(), cells[2].clone(), cells[3].clone())
    });
    rows.collect()
}

/// The fields of a fixed layout, read by its table; offsets must add up.
fn fixed<'a>(heading: &str, bytes: &'a [u8]) -> (BTreeMap<String, &'a [u8]>, usize) {
    let (mut fields, mut at) = (BTreeMap::new(), 0);
    for (offset, length, field) in table(heading) {
        assert_eq!(offset.parse::<usize>().unwrap(), at, "{heading}: offset of {field}");
        let length = length.parse().unwrap_or_else(|_| number(fields[&length]) as usize);
        fields.insert(field, &bytes[at..at + length]);
        at += length;
    }
    (fields, at)
}

/// Bytes that `count` varints take.
fn varints(bytes: &[u8], count: usize) -> usize {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte < 0x80);
    ends.map(|(end, _)| end + 1).take(count).last().unwrap_or_default()
}

/// The number in a varint.
fn varint(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

/// A layout with conditions, as it is read by its table.
#[derive(Default)]
struct Fields<'a> {
    /// The fields; those in lists by their last item.
    bytes: BTreeMap<String, &'a [u8]>,
    places: Vec<&'a [u8]>,
    numbers: BTreeMap<String, u64>,
    at: usize,
}

impl<'a> Fields<'a> {
    fn read(heading: &str, bytes: &'a [u8]) -> Fields<'a> {
        let mut fields = Fields::default();
        let rows = table(heading);
        let mut rows = rows.iter().peekable();
        while let Some((when, length, field)) = rows.next() {
            if let Some(count) = when.strip_prefix("each of ") {
                let mut item = vec![(length, field)];
                while let Some((_, length, field)) = rows.next_if(|row| row.0 == *when) {
                    item.push((length, field));
                }
                for _ in 0..fields.numbers.get(count).copied().unwrap_or_default() {
                    item.iter().for_each(|(length, field)| fields.take(bytes, length, field));
                }
            } else if fields.holds(when) {
                fields.take(bytes, length, field);
            }
        }
        fields
    }

    fn take(&mut self, bytes: &'a [u8], length: &str, field: &str) {
        let rest = &bytes[self.at..];
        let count = match length {
            "the rest" => rest.len(),
            "varint" | "gap" => varints(rest, 1),
            "place" => varints(rest, if rest[0] < 2 { 1 } else { 2 }),
            "runs" => (1..self.numbers["form"]).fold(0, |at, _| {
                let head = varints(&rest[at..], 2);
                at + head + varint(&rest[at + varints(&rest[at..], 1)..at + head]) as usize
            }),
            length => length.parse().unwrap_or_else(|_| self.numbers[length] as usize),
        };
        let value = &rest[..count];
        if length == "place" {
            self.places.push(value);
        }
        let number = if length == "varint" { varint(value) } else { number(value) };
        self.numbers.insert(field.to_string(), number);
        self.bytes.insert(field.to_string(), value);
        self.at += count;
    }

    /// Returns whether a condition holds of the fields before.
    fn holds(&self, when: &str) -> bool {
        let number = |name: &str| self.numbers.get(name).copied();
        if let Some((name, wanted)) = when.split_once(" = ") {
            number(name).is_some_and(|found| found.to_string() == wanted)
        } else if let Some((name, bit)) = when.split_once(" has ") {
            number(name).is_some_and(|found| found & bit.parse::<u64>().unwrap() != 0)
        } else if let Some((name, bit)) = when.split_once(" lacks ") {
            number(name).is_some_and(|found| found & bit.parse::<u64>().unwrap() == 0)
        } else if let Some((name, least)) = when.split_once(" > ") {
            number(name).is_some_and(|found| found > least.parse().unwrap())
        } else {
            true
        }
    }
}

/// The fields of a layout with conditions, read by its table to the end of the bytes.
fn conditional<'a>(heading: &str, bytes: &'a [u8]) -> BTreeMap<String, &'a [u8]> {
    let fields = Fields::read(heading, bytes);
    assert_eq!(fields.at, bytes.len(), "{heading}: nothing follows");
    fields.bytes
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A database with records of every kind.
fn written(path: &Path) {
    let store = small().open(path).unwrap();
    write_records(&store, path);
    store.close().unwrap();
    drop(store);
    crate::losses::lose_the_last_frame(path);
}

/// Writes records of every kind but a loss.
pub(crate) fn write_records(store: &Store, path: &Path) {
    let lived = |store: &Store, seed, name: &str| {
        let (mut author, genesis) = Author::new(seed);
        append(store, &[genesis], &[(name, author.head.id)]).unwrap();
        for _ in 0..25 {
            append(store, &[author.step(), author.refuse()], &[]).unwrap();
        }
        author.head
    };
    let one = lived(store, 2, "one").id;
    let (mut over, genesis) = Author::new(6);
    append(store, &[genesis], &[("over", over.head.id)]).unwrap();
    append(store, &[over.delete()], &[]).unwrap();
    let (mut author, genesis) = Author::new(3);
    append(store, &[genesis], &[]).unwrap();
    let to = author.head.id;
    store.set_name(one, "moved", Time::from_millis(9)).unwrap();
    store.set_name(to, "new", Time::from_millis(9)).unwrap();
    store.move_name("moved", to, Time::from_millis(9)).unwrap();
    store.free_name("moved", Time::from_millis(9)).unwrap();
    let messages = vec![crate::messages::message(to, 1), crate::messages::message(to, 2)];
    let made = author.send(messages.clone());
    crate::messages::append_sent(store, &author, &made, &messages, vec![]).unwrap();
    let fates = [Fate::Dead("why".to_string()), Fate::Delivered];
    let taken = store.messages_to(to).into_iter().zip(fates);
    let taken = taken.map(|(id, fate)| Taking { id, fate }).collect();
    store.commit(&Append { taken, ..Append::default() }).unwrap();
    let dead = store.dead_letters(None, 1).unwrap().swap_remove(0).id;
    store.retry_dead_letter(dead).unwrap();
    let taken = vec![Taking { id: dead, fate: Fate::Dead("why".to_string()) }];
    store.commit(&Append { taken, ..Append::default() }).unwrap();
    store.drop_dead_letter(dead).unwrap();
    assert!(store.set_moved(to, true).unwrap() && store.set_moved(to, false).unwrap());
    drop(store.create_outbox("mail").unwrap());
    assert!(store.remove_outbox("mail").unwrap());
    let from = small().open(path.with_extension("from")).unwrap();
    let (unrefused, genesis) = Author::new(5);
    append(&from, &[genesis], &[]).unwrap();
    let head = lived(&from, 1, "two");
    for head in [&unrefused.head, &head] {
        let mut bytes = Vec::new();
        from.export(head.id, &mut bytes, |_, _| {}).unwrap();
        let mut reader = CapsuleReader::new(&bytes[..]).unwrap();
        while reader.next().unwrap().is_some() {}
        store.import(&bytes[..], head, reader.seal().unwrap()).unwrap();
    }
    append(store, &[author.upgrade()], &[]).unwrap();
    (0..3).for_each(|_| append(store, &[author.step()], &[]).unwrap());
    store.set_retention(None, Retention::Versions(3)).unwrap();
    store.set_retention(Some(head.id), Retention::Age(Duration::from_millis(10_000))).unwrap();
    append(store, &[author.step()], &[]).unwrap();
}

/// The secrets of the objects whose geneses were read.
type Secrets = BTreeMap<ObjectId, Secret>;

/// Walks a segment by the tables; returns the kinds of its records.
fn walk(
    segment: u64,
    bytes: &[u8],
    id: &[u8],
    (last, secrets): (&mut Vec<u8>, &mut Secrets),
) -> BTreeSet<u64> {
    let (header, mut at) = fixed("Segment header", bytes);
    assert_eq!((header["name"], number(header["version"])), (&b"CTNT-SEG"[..], 2));
    assert_eq!((number(header["number"]), header["id"]), (segment, id));
    assert_eq!(header["previous"], &last[..]);
    assert_eq!(header["check"], blake3::derive_key("continuant 2 log segment", &bytes[..64]));
    let key = blake3::derive_key("continuant 2 log frame", id);
    let (mut kinds, mut group) = (BTreeSet::new(), 0);
    while at < bytes.len() {
        let (frame, length) = fixed("Frame", &bytes[at..]);
        let covered = [frame["body bytes"], frame["group"], frame["previous"]].concat();
        let guard = blake3::keyed_hash(&key, &covered);
        assert_eq!(frame["guard"], &guard.as_bytes()[..4]);
        assert_eq!(frame["previous"], &last[..]);
        let body = frame["body"];
        let covered = [&covered[..], blake3::hash(body).as_bytes()].concat();
        assert_eq!(frame["check"], blake3::keyed_hash(&key, &covered).as_bytes());
        let position = segment << 32 | at as u64;
        assert!((group..=position).contains(&number(frame["group"])), "groups go forwards");
        group = number(frame["group"]);
        *last = frame["check"].to_vec();
        kinds.extend(records(body, position, secrets));
        at += length;
    }
    kinds
}

/// Walks the records of the frame at a position; returns their kinds.
fn records(mut body: &[u8], frame: u64, secrets: &mut Secrets) -> BTreeSet<u64> {
    let mut kinds = BTreeSet::new();
    while !body.is_empty() {
        let head: usize = 5;
        let length = number(&body[1..head]) as usize;
        let record = conditional("Record", &body[..head + length]);
        let content = record["content"];
        let kind = number(record["kind"]);
        match kind {
            4 | 6 => version(content, frame, secrets),
            5 | 7 => {
                // The place, and how many came before.
                let place = varints(content, if content[0] < 2 { 2 } else { 3 });
                object::refusal::Refusal::decode(&content[place..]).unwrap();
            }
            8 => {
                let adoption = conditional("Adoption", content);
                let count = varint(adoption["refusal count"]);
                assert!([0, 25].contains(&count));
                assert_eq!(varint(adoption["seq"]), count);
                assert_eq!(adoption.contains_key("refusal hash"), count > 0);
            }
            9 => naming(content),
            10 => {
                let rule = conditional("Retention", content);
                let found = ["rule", "value", "has object"].map(|name| number(rule[name]));
                assert!([[0, 0, 1], [1, 3, 0], [2, 10_000, 1]].contains(&found), "{found:?}");
            }
            13 => {
                let (outbox, length) = fixed("Outbox", content);
                let zero = number(outbox["at"]) == 0 && number(outbox["count"]) == 0;
                assert!(number(outbox["is there"]) < 2 && zero);
                assert_eq!(&content[length..], b"mail");
            }
            15 => {
                let (moved, length) = fixed("Moved", content);
                assert!(number(moved["moved"]) < 2 && length == content.len());
            }
            14 => {
                let (loss, length) = fixed("Loss", content);
                let name = |name: &str| number(loss[name]);
                assert_eq!((length, name("time"), name("counted")), (content.len(), 7, 1));
                assert!(name("found") < name("expected"));
                let counts = ["objects", "gone", "versions", "refusals"].map(name);
                assert_eq!(counts, [1, 0, 1, 0]);
            }
            11 => assert_eq!((content.len(), &content[32..64]), (96, &content[64..])),
            12 => {
                let taken = conditional("Taken", content);
                let (number, fate) = (number(taken["number"]), number(taken["fate"]));
                assert_eq!(
                    (number, taken.get("why").copied()),
                    match fate {
                        0 => (1, None),
                        1 => (0, Some(&b"why"[..])),
                        2 | 3 => (0, None),
                        other => panic!("fate {other}"),
                    }
                );
            }
            _ => {}
        }
        kinds.insert(kind);
        body = &body[head + length..];
    }
    kinds
}

fn naming(content: &[u8]) {
    let naming = conditional("Name", content);
    let (bound, name) = (number(naming["bound"]), str::from_utf8(naming["name"]).unwrap());
    let is_first = number(naming["before"]) == 0;
    match (bound, name) {
        (1, "one" | "object 1" | "object 2" | "new" | "over") => assert!(is_first),
        (1, "moved") | (0, "one" | "moved" | "new" | "over") => {}
        other => panic!("{other:?}"),
    }
}

fn version(content: &[u8], frame: u64, secrets: &mut Secrets) {
    let version = Fields::read("Version", content);
    assert_eq!(version.at, content.len(), "nothing follows");
    let (version, mut places) = (version.bytes, version.places);
    let header = object::header::Header::decode(version["header"]).unwrap();
    let begins = header.seq == 0 || header.kind == Kind::Upgrade;
    assert!(version.contains_key("base") || !begins);
    assert_eq!(version.contains_key("secret"), header.seq == 0);
    if let Some(secret) = version.get("secret") {
        secrets.insert(header.object_id(), Secret::decode(secret).unwrap());
    }
    assert_eq!(varint(version["parent"]) == 0, header.seq == 0);
    let (count, mut rest, mut next) = (varint(version["pages"]), version["changed"], 0);
    match version.get("kept from") {
        Some(kept_from) => {
            assert!(varint(kept_from) > header.seq && count <= u64::from(header.page_count));
        }
        None => {
            let secret = secrets[&header.object_id()].since(header.seq).unwrap();
            let salts = secret.version_salts();
            assert_eq!(InputHash::of(salts.input, version["input"]), header.input);
            assert_eq!(EffectsHash::of(salts.effects, version["effects"]), header.effects);
            let admission = AdmissionHash::of(salts.admission, version["admission"]);
            assert_eq!(admission, header.admission);
            assert_eq!(count, u64::from(header.page_count));
        }
    }
    for _ in 0..count {
        let page = Fields::read("Changed page", rest);
        next += varint(page.bytes["page"]) + 1;
        rest = &rest[page.at..];
        places.extend(page.places);
    }
    let is_own = |place: &&[u8]| {
        let number = varints(place, 1);
        (varint(&place[..number]) == (frame >> 32) + 1)
            && varint(&place[number..]) == frame & u64::from(u32::MAX)
    };
    assert!(!places.iter().any(is_own), "the record's own frame is 1");
    assert!(rest.is_empty() && next <= header.memory_bytes / 4096);
}

/// Walks the segments of a database; returns the kinds of its records.
fn walk_all(path: &Path) -> BTreeSet<u64> {
    let marker = fs::read(path.join("continuant.db")).unwrap();
    let (marker, length) = fixed("Marker", &marker);
    assert_eq!((marker["name"], number(marker["format"])), (&b"CONTINUANTDB"[..], 2));
    assert_eq!(length, 64);
    let key = blake3::derive_key("continuant 2 log frame", marker["id"]);
    let mut last = blake3::keyed_hash(&key, b"").as_bytes().to_vec();
    let (mut kinds, mut secrets) = (BTreeSet::new(), Secrets::new());
    let count = fs::read_dir(path.join("log")).unwrap().count() as u64;
    for segment in 1..=count {
        let bytes = fs::read(path.join(format!("log/{segment:08}.log"))).unwrap();
        kinds.extend(walk(segment, &bytes, marker["id"], (&mut last, &mut secrets)));
    }
    assert!(count > 1, "several segments");
    kinds
}

#[test]
fn files_are_what_the_format_says() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    written(&path);
    let bytes = fs::read(path.join("continuant.db")).unwrap();
    let (marker, _) = fixed("Marker", &bytes);
    assert_eq!(marker["check"], blake3::derive_key("continuant 2 database marker", &bytes[..32]));
    has_every_kind(&path);
}

/// Checks that a database has a record of every kind, as the tables say.
pub(crate) fn has_every_kind(path: &Path) {
    let documented = table("Record kinds").into_iter().map(|(code, ..)| code.parse().unwrap());
    assert_eq!(walk_all(path), documented.collect(), "there is a record of every kind");
}

#[test]
fn the_witness_of_a_backup_is_what_the_format_says() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    written(&path);
    let store = small().open(&path).unwrap();
    let backup = path.with_extension("backup");
    let report = store.backup(&backup, |_, _| {}).unwrap();
    let bytes = fs::read(backup.join("backup.witness")).unwrap();
    let (witness, length) = fixed("Witness", &bytes);
    assert_eq!((witness["name"], number(witness["version"])), (&b"CONTINUANTBK"[..], 2));
    assert_eq!(length, bytes.len());
    assert_eq!(witness["id"], &fs::read(path.join("continuant.db")).unwrap()[16..32]);
    let end = number(witness["end"]);
    assert_eq!(format!("{}:{}", end >> 32, end as u32), report.end.to_string());
    let found = ["frames", "objects", "versions", "refusals"].map(|name| number(witness[name]));
    let Contents { frame_count, object_count, version_count, refusal_count } = report.contents;
    assert_eq!(found, [frame_count, object_count, version_count, refusal_count]);
    let log = fs::read(path.join(format!("log/{:08}.log", end >> 32))).unwrap();
    let last = &log[number(witness["last"]) as u32 as usize..];
    assert_eq!(witness["last check"], fixed("Frame", last).0["check"]);
    let check = blake3::derive_key("continuant 2 backup witness", &bytes[..144]);
    assert_eq!(witness["check"], check);
}

#[test]
fn packs_are_what_the_format_says() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    written(&path);
    let mut plain: BTreeMap<u64, u64> = BTreeMap::new();
    for segment in 1..=2 {
        let bytes = fs::read(path.join(format!("log/{segment:08}.log"))).unwrap();
        plain.insert(segment, bytes.len() as u64);
    }
    let store = small().open(&path).unwrap();
    assert!(store.compact(Time::MAX, |_, _| {}).unwrap().trimmed_count > 0);
    drop(store);
    let marker = fs::read(path.join("continuant.db")).unwrap();
    let (id, mut kinds, mut trimmed) = (&marker[16..32], BTreeSet::new(), 0);
    let mut secrets = Secrets::new();
    let key = blake3::derive_key("continuant 2 log pack", id);
    let seal = blake3::derive_key("continuant 2 log frame", id);
    let mut last = blake3::keyed_hash(&seal, b"").as_bytes().to_vec();
    for (segment, end) in plain {
        let pack = fs::read(path.join(format!("log/{segment:08}.pack"))).unwrap();
        let check = |parts: &[&[u8]]| {
            let covered = [&(segment as u32).to_le_bytes()[..], &parts.concat()].concat();
            blake3::keyed_hash(&key, &covered)
        };
        let (header, start) = fixed("Pack", &pack);
        assert_eq!((header["name"], number(header["version"])), (&b"CTNT-PAK"[..], 2));
        assert_eq!((number(header["number"]), header["id"]), (segment, id));
        assert_eq!(header["previous"], &last[..]);
        assert_eq!(header["check"], check(&[&pack[..64]]).as_bytes());
        let (footer, length) = fixed("Pack footer", &pack[pack.len() - 48..]);
        let entries = &pack[number(footer["directory at"]) as usize..pack.len() - 48];
        assert_eq!((length, number(footer["end"])), (48, end));
        assert_eq!(footer["check"], check(&[&pack[pack.len() - 48..][..16], entries]).as_bytes());
        let mut at = start as u64;
        assert_eq!(entries.chunks_exact(32).count() as u64, number(footer["blocks"]));
        for entry in entries.chunks_exact(32) {
            let (block, _) = fixed("Pack directory", entry);
            assert_eq!(number(block["at"]), at);
            let stored = &pack[at as usize..][..number(block["stored bytes"]) as usize];
            at += stored.len() as u64;
            assert_eq!(block["check"], &check(&[block["first"], stored]).as_bytes()[..12]);
            let length = number(block["block bytes"]) as usize;
            let bytes = match length > stored.len() {
                true => lz4_flex::block::decompress(stored, length).unwrap(),
                false => stored.to_vec(),
            };
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (frame, length) = fixed("Packed frame", rest);
                rest = &rest[length..];
                let header = frame["frame header"];
                let body = number(&header[..4]) as usize;
                assert_eq!(&header[16..48], &last[..]);
                last = header[48..80].to_vec();
                trimmed += usize::from(body > frame["left"].len());
                let position = segment << 32 | number(frame["offset"]);
                kinds.extend(records(frame["left"], position, &mut secrets));
            }
        }
    }
    assert!(trimmed > 10 && kinds.is_superset(&BTreeSet::from([1, 2, 3, 4, 5, 9])), "{kinds:?}");
}
