//! Failures, with their words and exit codes.

use std::fs;

use continuant::object::capsule::{Chain, HEAD, SectionKind};
use continuant::object::commit::Commit;
use continuant::object::hash::PolicyHash;
use continuant::object::input::Input;
use continuant::storage::CapsuleReader;
use continuant::{Clock, Code, Law, ObjectId, Options, Time, args};
use expect_test::expect_file;
use serde_json::Value as Json;

use crate::terminal::{Terminal, root, without_notes};

#[test]
fn arguments_that_are_not_as_they_must_be() {
    let terminal = Terminal::with_visits();
    let lines = [
        "call visits decrement",
        "call visits increment",
        "call visits increment two",
        "call visits increment -1",
        "call visits increment 2 --nonce 7",
        "write visits count",
        "write visits mood=256",
        "write visits label=hello",
        "get visits colour",
        "history visits --since then",
        "--json at visits then",
        "--json frobnicate",
        "--json dump visits",
    ];
    terminal.check(&lines, expect_file!["transcripts/usage.txt"]);
}

#[test]
fn what_is_not_there() {
    let terminal = Terminal::with_visits();
    let lines = [
        "list --db nowhere",
        "show guests",
        "--json show 00000000",
        &format!("show {}", "0".repeat(64)),
        "at visits 99",
        "at visits 2000-01-01",
        "verify nowhere.continuant",
        "call visits increment 1 --sign no.key",
    ];
    terminal.check(&lines, expect_file!["transcripts/missing.txt"]);
    assert!(!terminal.path("nowhere").exists(), "looking for a database makes none");
}

/// Databases, backups and capsules from before the first release are refused by name.
#[test]
fn what_is_of_format_1() {
    let terminal = Terminal::with_visits();
    let fixtures = root().join("storage/tests/fixtures");
    let old = |file: &str| fs::read(fixtures.join("format-1").join(file)).unwrap();
    let files = ["continuant.db", "backup.witness", "log/00000001.log"];
    for (place, files) in [("old", vec![files[0], files[2]]), ("kept", files.to_vec())] {
        fs::create_dir_all(terminal.path(place).join("log")).unwrap();
        for file in files {
            fs::write(terminal.path(place).join(file), old(file)).unwrap();
        }
    }
    terminal.write("old.continuant", fs::read(fixtures.join("format-1.continuant")).unwrap());
    let lines = [
        "list --db old",
        "check --db old",
        "check --repair --db old",
        "check --repair --db kept",
        "outbox --db old",
        "--json restore kept --db new",
        "backup kept",
        "verify old.continuant",
        "import old.continuant",
    ];
    terminal.check(&lines, expect_file!["transcripts/old-formats.txt"]);
    assert!(!terminal.path("new").exists(), "nothing is restored");
}

#[test]
fn what_is_refused() {
    let terminal = Terminal::with_visits();
    let lines = [
        "call visits increment 1001",
        "--json call visits increment 1001",
        "call visits rename hello",
        "call visits rename hello --sign owner.key --nonce 7",
        "call visits rename again --sign owner.key --nonce 7",
        "call visits rename again --sign owner.key --expires 2000-01-01",
        &format!("call visits rename again --sign owner.key --parent {}", "1".repeat(64)),
        "get visits label",
    ];
    terminal.check(&lines, expect_file!["transcripts/refused.txt"]);
}

/// Regression: it was put on record as a refusal that no verifier took.
#[test]
fn a_parent_of_zeros_is_refused_like_any_other() {
    let terminal = Terminal::with_visits();
    let call = "call visits increment 1 --sign owner.key --parent";
    let printed = terminal.run(&format!("{call} {}", "0".repeat(64)));
    assert_eq!(printed.code, Some(3), "{printed:?}");
    assert!(printed.stderr.contains("wrong-parent"), "{printed:?}");
    let shown: serde_json::Value =
        serde_json::from_str(&terminal.run("--json show visits").done()).unwrap();
    assert_eq!(shown["refusals"], 1, "{shown}");
    for line in ["verify visits", "export visits v.continuant", "verify v.continuant"] {
        terminal.run(line).done();
    }
}

#[test]
fn what_cannot_be_made() {
    let terminal = Terminal::with_visits();
    terminal.write("text.wasm", "dear");
    terminal.write("wrong.cedar", "permit(principal, action, resource)");
    // A capsule's length differs a little from one to the next.
    terminal.run("export visits visits.continuant").done();
    let lines = [
        "create text.wasm --policy policy.cedar",
        "create missing.wasm --policy policy.cedar",
        "create object.wasm a --policy wrong.cedar",
        "create object.wasm --policy policy.cedar",
        "create object.wasm a --policy policy.cedar --name visits",
        "key new owner.key",
        "key show policy.cedar",
        "init",
        "export visits visits.continuant",
        "import visits.continuant",
    ];
    terminal.check(&lines, expect_file!["transcripts/unmade.txt"]);
    terminal.run("export visits visits.continuant --force").done();
}

#[test]
fn a_creation_that_is_refused_is_on_no_record() {
    let terminal = Terminal::with_visits();
    terminal.write("trap.wasm", crate::objects::trapping());
    terminal.write("open.cedar", "@id(\"open\") permit(principal, action, resource);");
    let printed = terminal.run("create trap.wasm --policy open.cedar");
    assert_eq!(printed.code, Some(3), "{printed:?}");
    assert_eq!(printed.stderr, "error: refused: trap: unreachable code reached\n");
}

#[test]
fn an_object_is_named_once() {
    let terminal = Terminal::with_visits();
    for (line, kind) in [
        ("fork visits 99", "no-version"),
        ("explain visits 99", "no-version"),
        ("explain visits --refusal 9", "no-refusal"),
        ("at visits 99", "no-version"),
    ] {
        let printed = terminal.run(line);
        assert_eq!(printed.code, Some(5), "{line}: {printed:?}");
        let named = printed.stderr.matches("object ").count();
        assert_eq!(named, 1, "an object is named once: {}", printed.stderr);
        let json = terminal.run(&format!("--json {line}")).stderr;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["error"]["kind"], kind, "{line}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named_as_one() {
    let terminal = Terminal::with_visits();
    let printed = terminal.run("verify no/such/file.cap");
    let problem = "error: there is neither a file nor an object no/such/file.cap\n";
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(5), problem));
    let printed = terminal.run("verify guests");
    assert!(printed.stderr.starts_with("error: there is no file guests: no object \"guests\""));
    assert!(terminal.run("verify --replay").done().contains("verified, replayed"));
}

#[test]
fn a_database_that_is_made_by_the_way_is_told() {
    let terminal = Terminal::with_visits();
    terminal.run("export visits visits.continuant").done();
    let create = "create object.wasm a --policy policy.cedar --db new";
    let created = terminal.run(create).done();
    assert!(created.ends_with("new database  new\n"), "{created}");
    assert!(!terminal.run(create).done().contains("new database"));
    let imported = terminal.run("--json import visits.continuant --db other").done();
    let imported: serde_json::Value = serde_json::from_str(&imported).unwrap();
    assert_eq!(imported["new_database"], "other");
}

#[test]
fn a_refusal_leads_on_to_why() {
    let terminal = Terminal::with_visits();
    let printed = terminal.run("call visits increment 1001");
    let hint = printed.stderr.split('`').nth(1).unwrap().strip_prefix("continuant ").unwrap();
    let explained = terminal.run(hint).done();
    assert!(explained.contains("refused: forbidden by limit"), "{explained}");
    let json = terminal.run("--json call visits increment 1001").stderr;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let error = &json["error"];
    assert_eq!((&error["action"], &error["refusal"]), (&"increment".into(), &2.into()));
    assert_eq!((&error["reason"], &error["rules"][0]), (&"forbidden".into(), &"limit".into()));
}

#[test]
fn what_is_not_due() {
    let terminal = Terminal::with_visits();
    terminal.check(&["advance visits"], expect_file!["transcripts/not-due.txt"]);
}

#[test]
fn a_database_that_is_in_use() {
    let terminal = Terminal::with_visits();
    let open = Options::new().cycles(false).open(terminal.path("continuant.db")).unwrap();
    let refused = terminal.run("list --wait 0s --json");
    let error: serde_json::Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!((refused.code, &error["error"]["kind"]), (Some(1), &"locked".into()));
    open.close().unwrap();
    terminal.run("list").done();
}

/// An object that is made at a set time, so that its id is known before.
fn foretold(terminal: &Terminal, directory: &str, secret: u16) -> ObjectId {
    let options =
        Options::new().cycles(false).clock(Clock::manual(Time::from_millis(1_700_000_000_000)));
    let db = options.open(terminal.path(directory)).unwrap();
    let code = Code::wasm(crate::objects::module()).unwrap().args(args!["a"]);
    let mut whole = [0; 32];
    whole[..2].copy_from_slice(&secret.to_le_bytes());
    let id = db.create(code.secret(whole)).unwrap();
    db.close().unwrap();
    id
}

#[test]
fn a_prefix_that_fits_several_objects() {
    let terminal = Terminal::with_visits();
    let options =
        Options::new().cycles(false).clock(Clock::manual(Time::from_millis(1_700_000_000_000)));
    let db = options.open(terminal.path("continuant.db")).unwrap();
    let code = Code::wasm(crate::objects::module()).unwrap().args(args!["a"]);
    // Two of them begin with the same four digits.
    let mut ids: Vec<String> = Vec::new();
    let same = (0u32..).find_map(|secret| {
        let mut whole = [0; 32];
        whole[..4].copy_from_slice(&secret.to_le_bytes());
        let id = db.begin_create(code.clone().secret(whole)).unwrap().0.to_string();
        let same = ids.iter().find(|other| other[..4] == id[..4]).cloned();
        ids.push(id.clone());
        same.map(|other| (other, id))
    });
    db.close().unwrap();
    let (one, other) = same.unwrap();
    let printed = terminal.run(&format!("show {}", &one[..4]));
    assert_eq!(printed.code, Some(2));
    assert!(printed.stderr.contains("give more digits"), "{}", printed.stderr);
    assert!(printed.stderr.contains(&one) && printed.stderr.contains(&other), "{printed:?}");
    terminal.run(&format!("show {one}")).done();
    let printed = terminal.run(&format!("show {}", &one[..3]));
    assert_eq!(printed.code, Some(5), "three digits are no id: {printed:?}");
    assert!(
        printed.stderr.contains("the beginning of an id has at least four digits"),
        "{}",
        printed.stderr
    );
}

/// Regression: a name was looked up before an id, so that one object's name could hide another's
/// id.
#[test]
fn a_name_does_not_pass_for_an_id() {
    let terminal = Terminal::with_visits();
    let visits: Json = serde_json::from_str(&terminal.run("--json show visits").done()).unwrap();
    let id = visits["object"].as_str().unwrap();
    let create = "create object.wasm two --policy policy.cedar --name";
    for name in [&id[..4], &id[..40], &id.to_uppercase()[..9], id, &"0".repeat(64)] {
        let printed = terminal.run(&format!("--json {create} {name}"));
        let error: Json = serde_json::from_str(&printed.stderr).unwrap();
        assert_eq!((printed.code, &error["error"]["kind"]), (Some(1), &"name-is-id".into()));
        assert_eq!(terminal.run(&format!("fork visits --name {name}")).code, Some(1));
    }
    for name in [&id[..3], "ada", "bed"] {
        terminal.run(&format!("{create} {name}")).done();
        terminal.run(&format!("show {name}")).done();
    }
    // One that comes later may begin as a name does.
    let late = foretold(&terminal, "elsewhere.db", 7).to_string();
    let name = &late[..6];
    terminal.run(&format!("{create} {name}")).done();
    assert!(!terminal.run("check").done().contains("reads as"));
    assert_eq!(foretold(&terminal, "continuant.db", 7).to_string(), late);
    let printed = terminal.run(&format!("call {name} increment 1"));
    assert_eq!(printed.code, Some(2), "{printed:?}");
    assert!(printed.stderr.contains(&late) && printed.stderr.contains("give a whole id"));
    terminal.run(&format!("show {late}")).done();
    let checked: Json = serde_json::from_str(&terminal.run("--json check").done()).unwrap();
    let doubtful = checked["doubtful_names"].as_array().unwrap();
    assert_eq!(doubtful.len(), 1);
    assert_eq!((&doubtful[0]["name"], &doubtful[0]["other"]), (&name.into(), &late.into()));
    assert!(terminal.run("check").done().contains("reads as the id of"));
}

/// Regression: the meaning of `verify`'s argument depended on which files existed.
#[test]
fn an_object_and_a_file_of_one_name() {
    let terminal = Terminal::with_visits();
    terminal.run("export visits visits").done();
    let printed = terminal.run("verify visits");
    assert_eq!(printed.code, Some(2), "{printed:?}");
    assert!(printed.stderr.contains("an object and a file: give ./visits"), "{printed:?}");
    assert!(terminal.run("verify ./visits").done().starts_with("capsule"));
    terminal.run("verify ./visits --db none").done();
}

#[test]
fn a_capsule_that_was_changed() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("export visits visits.continuant").done();
    let whole = std::fs::read(terminal.path("visits.continuant")).unwrap();
    for at in [0, 20, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        terminal.write("visits.continuant", changed);
        for line in ["verify visits.continuant", "import visits.continuant --db other"] {
            let printed = terminal.run(line);
            assert_eq!(printed.code, Some(4), "byte {at}, {line}: {}", printed.stderr);
            assert!(printed.stderr.starts_with("error: visits.continuant: "), "{printed:?}");
        }
    }
    terminal.write("visits.continuant", &whole[..whole.len() - 7]);
    assert_eq!(terminal.run("verify visits.continuant").code, Some(4));
    assert!(!terminal.path("other").exists(), "what is not taken in leaves no database");
}

/// A capsule with other bodies of its sections, whose checks hold.
fn remade(capsule: &[u8], mut change: impl FnMut(SectionKind, &mut Vec<u8>)) -> Vec<u8> {
    let (mut reader, mut parts) = (CapsuleReader::new(capsule).unwrap(), Vec::new());
    while let Some((kind, body)) = reader.next().unwrap() {
        parts.push((kind, body.to_vec()));
    }
    parts.pop();
    let (mut bytes, mut chain) = (HEAD.to_vec(), Chain::new());
    parts.iter_mut().for_each(|(kind, body)| change(*kind, body));
    let count = parts.len() as u64;
    for (kind, body) in parts.iter().chain([&(SectionKind::End, count.to_le_bytes().to_vec())]) {
        let (head, check) = chain.section(*kind, body);
        [&head[..], body, &check].iter().for_each(|part| bytes.extend_from_slice(part));
    }
    bytes
}

/// An object that was made when its policy was still taken.
fn of_old_policy(capsule: &[u8], policy: &str) -> Vec<u8> {
    let law = Law::from(policy).encode();
    remade(capsule, |kind, body| match kind {
        SectionKind::Policy => *body = law.clone(),
        SectionKind::Commit => {
            let before = std::mem::take(body);
            let mut commit = Commit::decode(&before).unwrap();
            commit.header.policy = PolicyHash::of(&law);
            commit.encode_into(body);
        }
        _ => {}
    })
}

#[test]
fn a_capsule_with_an_algorithm_of_a_newer_program_is_not_damaged() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits rename hello --sign owner.key").done();
    terminal.run("export visits visits.continuant").done();
    let whole = std::fs::read(terminal.path("visits.continuant")).unwrap();
    let mut count = 0;
    let newer = remade(&whole, |kind, body| {
        let before = body.clone();
        if kind != SectionKind::Commit {
            return;
        }
        let commit = Commit::decode(&before).unwrap();
        let mut input = commit.input.to_vec();
        if Input::decode(&input).unwrap().credential.is_some() {
            let algorithm = input.len() - 97;
            input[algorithm] = 7;
            count += 1;
        }
        body.clear();
        Commit { input: &input, ..commit }.encode_into(body);
    });
    assert_eq!(count, 1, "one call was signed");
    terminal.write("newer.continuant", newer);
    for line in ["--json verify newer.continuant", "--json import newer.continuant --db other"] {
        let printed = terminal.run(line);
        assert_eq!(printed.code, Some(1), "{printed:?}");
        let error: Json = serde_json::from_str(&printed.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "unknown-algorithm", "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("expected the algorithm 1, found 7"), "{message}");
    }
    assert!(!terminal.path("other").exists(), "nothing is imported");
}

#[test]
fn an_import_says_that_a_policy_is_no_longer_taken() {
    let terminal = Terminal::with_visits();
    terminal.run("export visits visits.continuant").done();
    let whole = std::fs::read(terminal.path("visits.continuant")).unwrap();
    let policy = std::fs::read_to_string(terminal.path("policy.cedar")).unwrap();
    terminal.write("same.continuant", of_old_policy(&whole, &policy));
    let taken = terminal.run("import same.continuant --db same");
    assert_eq!((taken.code, &*without_notes(&taken.stderr)), (Some(0), ""));
    let word = r#"@id("never") forbid (principal, action, resource)
        when { context.credential == "sesion" };"#;
    let old = format!("{policy}\n{word}\n");
    terminal.write("old.continuant", of_old_policy(&whole, &old));
    terminal.run("verify old.continuant --replay").done();
    for line in ["import old.continuant --db old", "import old.continuant --db older --json"] {
        let taken = terminal.run(line);
        assert_eq!(taken.code, Some(0), "{}", taken.stderr);
        assert!(
            taken.stderr.contains("this version of the program would refuse as a new one"),
            "{}",
            taken.stderr
        );
        assert!(taken.stderr.contains("sesion"), "{}", taken.stderr);
    }
}

/// Regression: `init` refused the root of a new file system, and other commands named `init` where
/// it would be refused.
#[test]
fn the_root_of_a_file_system_is_empty() {
    let terminal = Terminal::with_visits();
    terminal.run("backup visits.backup").done();
    for root in ["one", "two", "three", "four", "five"] {
        std::fs::create_dir_all(terminal.path(root).join("lost+found")).unwrap();
    }
    let missing = terminal.run("list --db one");
    assert!(missing.code == Some(5) && missing.stderr.contains("`continuant init` makes one"));
    terminal.run("init --db one").done();
    terminal.run("create object.wasm a --policy policy.cedar --db two").done();
    terminal.run("call visits increment 2").done();
    terminal.run("backup three").done();
    terminal.run("backup three").done();
    terminal.run("restore three --db four").done();
    for db in ["one", "two", "three", "four"] {
        terminal.run(&format!("check --db {db}")).done();
        assert!(terminal.path(db).join("lost+found").exists());
    }
    terminal.write("five/else", "");
    assert_eq!(terminal.run("init --db five").code, Some(1));
    let missing = terminal.run("list --db five");
    assert_eq!(missing.code, Some(5));
    let told = "five is not a database: it is not empty: --db or CONTINUANT_DB names another";
    assert!(missing.stderr.contains(told), "{missing:?}");
}

#[test]
fn damage_is_found_and_never_served() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("check").done();
    let log = std::fs::read_dir(terminal.path("continuant.db/log")).unwrap().next().unwrap();
    let log = log.unwrap().path();
    let mut bytes = std::fs::read(&log).unwrap();
    let label = bytes.windows(7).position(|bytes| bytes == b"welcome").unwrap();
    bytes[label] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    for line in ["check", "check --json", "verify visits", "verify --all"] {
        let printed = terminal.run(line);
        assert_eq!(printed.code, Some(4), "{line}: {printed:?}");
        assert!(printed.stderr.contains("damaged") || line == "verify --all", "{printed:?}");
    }
}

#[test]
fn a_damaged_index_is_made_anew() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    let index = terminal.path("continuant.db/index.redb");
    let length = std::fs::metadata(&index).unwrap().len() as usize;
    std::fs::write(&index, vec![0x5a; length]).unwrap();
    let printed = terminal.run("list");
    assert_eq!(printed.code, Some(4), "{printed:?}");
    assert!(printed.stderr.contains("check --repair"), "{printed:?}");
    terminal.run("check --repair").done();
    assert_eq!(terminal.run("get visits count").done(), "2\n");
    std::fs::remove_file(&index).unwrap();
    assert_eq!(terminal.run("get visits count").done(), "2\n", "a lost one is made anew unasked");
}
