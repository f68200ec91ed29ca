//! The output of each command, for people and as JSON.

use expect_test::{expect, expect_file};
use serde_json::Value as Json;

use crate::objects;
use crate::terminal::{Terminal, root, without_notes};

#[test]
fn objects_are_made_shown_and_called() {
    let terminal = Terminal::with_visits();
    let lines = [
        "init --db other",
        "key new second.key",
        "key show owner.key",
        "create object.wasm two --policy policy.cedar",
        "show visits",
        "show visits --schema",
        "call visits increment 2",
        "call visits rename hello --sign owner.key",
        "write visits mood=7 count=40",
        "get visits label",
        "get visits mood",
        "get visits count --at 1",
        "call visits ring",
        "advance visits",
        "run",
    ];
    terminal.check(&lines, expect_file!["transcripts/objects.txt"]);
}

#[test]
fn calls_are_made_under_one_signature() {
    let terminal = Terminal::with_visits();
    terminal.run("create object.wasm two --policy policy.cedar --name other").done();
    terminal.write(
        "calls.jsonl",
        concat!(
            "[\"visits\", \"increment\", 2]\n\n",
            "[\"other\", \"rename\", \"a name\"]\n",
            "[\"visits\", \"increment\", 1001]\n",
            "[\"visits\", \"increment\", 3]\n",
        ),
    );
    terminal.write("bad.jsonl", "[\"visits\", \"increment\", 2]\n[\"visits\", \"increment\"]\n");
    terminal.write("worse.jsonl", "{}");
    let shown = terminal.run("batch calls.jsonl --sign owner.key");
    expect![[r#"
        line 1: version 1, result 2
        line 3: version 1
        line 4: object ID: refused: forbidden by limit
        line 5: version 2, result 5
    "#]]
    .assert_eq(&hide_ids(&shown.stdout));
    assert!(shown.stderr.ends_with("refused: forbidden by limit\n"), "{}", shown.stderr);
    assert_eq!(shown.code, Some(3));
    let shown = terminal.run("--json batch calls.jsonl --sign owner.key");
    let documents = shown.stdout.lines();
    let documents: Vec<Json> = documents.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 5);
    assert!(documents[0]["batch"].is_u64(), "{}", documents[0]);
    assert_eq!(
        (&documents[1]["seq"], &documents[3]["error"]["kind"]),
        (&3.into(), &"refused".into())
    );
    let lines = [
        "get other label",
        "batch bad.jsonl --sign owner.key",
        "batch worse.jsonl --sign owner.key",
        "batch gone.jsonl --sign owner.key",
        "batch calls.jsonl",
        "history visits",
        "verify visits --replay",
    ];
    terminal.check(&lines, expect_file!["transcripts/batch.txt"]);
}

/// Objects' ids are random: not shown.
fn hide_ids(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.trim_end_matches(':').len() {
        64 => "ID:",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_policy_is_printed_as_it_was_given() {
    let terminal = Terminal::with_visits();
    let text = std::fs::read_to_string(terminal.path("policy.cedar")).unwrap();
    assert_eq!(terminal.run("show visits --policy").done(), text);
}

#[test]
fn a_policy_has_the_hash_that_it_is_shown_by() {
    let terminal = Terminal::with_visits();
    let shown: serde_json::Value =
        serde_json::from_str(&terminal.run("--json show visits").done()).unwrap();
    let hash = shown["policy"].as_str().unwrap();
    assert_eq!(terminal.run("policy hash policy.cedar").done(), format!("{hash}\n"));
    let json = terminal.run("--json policy hash policy.cedar").done();
    assert_eq!(json, format!("{{\"policy\":\"{hash}\"}}\n"));
}

#[test]
fn words_are_typed_by_the_schema() {
    let terminal = Terminal::with_visits();
    for (word, label) in [("42", "42"), ("true", "true"), ("\"42\"", "42"), ("null", "null")] {
        terminal.run(&format!("call visits rename {word} --sign owner.key")).done();
        assert_eq!(terminal.run("get visits label").done(), format!("{label}\n"));
    }
    terminal.run("write visits mood=3").done();
    assert_eq!(terminal.run("get visits mood").done(), "3\n");
    terminal.run("write visits mood=null").done();
    assert_eq!(terminal.run("get visits mood").done(), "null\n");
}

#[test]
fn a_history_is_shown_from_either_end() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    assert_eq!(terminal.run("call visits increment 1001").code, Some(3));
    terminal.run("call visits rename hello --sign owner.key").done();
    terminal.run("write visits count=5").done();
    terminal.run("call visits ring").done();
    terminal.run("advance visits").done();
    let lines = [
        "history visits",
        "history visits --backwards --limit 2",
        "history visits --refused",
        "history visits --until 2000-01-01",
        "at visits 1",
        "at visits 2099-12-31T00:00:00Z",
        "diff visits 1 4",
        "diff visits 6",
        "blame visits label",
        "list",
        "verify visits",
        "verify visits --replay",
        "verify --all --replay",
    ];
    terminal.check(&lines, expect_file!["transcripts/histories.txt"]);
}

#[test]
fn a_policy_is_given_a_guard() {
    let terminal = Terminal::with_visits();
    let text = std::fs::read_to_string(terminal.path("policy.cedar")).unwrap();
    let amend = r#"@id("amend") permit(principal is Key, action == Action::"amend", resource);"#;
    terminal.write("amendable.cedar", format!("{text}\n{amend}"));
    terminal.write("even.wasm", objects::guard("after.count"));
    terminal.write("wrong.wasm", objects::module());
    let create = "create object.wasm hello --policy amendable.cedar --name board";
    terminal.run(&format!("{create} --guard even.wasm")).done();
    let lines = [
        "create object.wasm hello --policy policy.cedar --guard wrong.wasm",
        "create object.wasm hello --policy policy.cedar --guard missing.wasm",
        "call board increment 2",
        "call board increment 1",
        "dry-run board increment 3",
        "explain board 1",
        "--json explain board --refusal 1",
        "show board",
        "show board --guard kept.wasm",
        "show visits --guard kept.wasm",
        "policy hash amendable.cedar --guard kept.wasm",
        "policy check board amendable.cedar --guard even.wasm",
        "verify board",
        "verify board --replay",
        "--json verify board",
        "policy amend board amendable.cedar --guard wrong.wasm --sign owner.key",
        "policy amend board amendable.cedar --sign owner.key --nonce 7",
        "call board increment 1",
        "policy check board amendable.cedar --guard even.wasm",
        "verify --all",
    ];
    terminal.check(&lines, expect_file!["transcripts/guards.txt"]);
    let guards = ["even.wasm", "kept.wasm"].map(|name| std::fs::read(terminal.path(name)).unwrap());
    assert!(guards[0] == guards[1], "the guard is written as it was given");
}

#[test]
fn a_policy_is_checked_and_changed() {
    let terminal = Terminal::with_visits();
    let text = std::fs::read_to_string(terminal.path("policy.cedar")).unwrap();
    let amend = r#"@id("amend") permit(principal is Key, action == Action::"amend", resource);"#;
    let few = r#"@id("few") forbid(principal, action == Action::"increment", resource)
        when { context.lineage.past.increment.minute >= 2 };"#;
    terminal.write("amendable.cedar", format!("{text}\n{amend}"));
    terminal.write("few.cedar", format!("{text}\n{amend}\n{few}"));
    terminal.write("wrong.cedar", "permit(principal, action, resource);");
    terminal.run("create object.wasm hello --policy amendable.cedar --name board").done();
    for by in [1, 2, 3] {
        terminal.run(&format!("call board increment {by}")).done();
    }
    let lines = [
        "policy check board few.cedar",
        "policy check board few.cedar --last 2",
        "--json policy check board policy.cedar",
        "policy check board wrong.cedar",
        "policy amend board few.cedar",
        "policy amend board policy.cedar --sign owner.key",
        "policy amend board few.cedar --sign owner.key --nonce 7",
        "call board increment 1",
        "call board increment 1",
        "call board increment 1",
        "history board --limit 4",
        "--json history board --refused --limit 1",
        "policy amend board policy.cedar --for-good --sign owner.key --nonce 8",
        "verify board --replay",
    ];
    terminal.check(&lines, expect_file!["transcripts/policies.txt"]);
}

#[test]
fn a_policy_that_cannot_be_meant_is_told_by_line_and_column() {
    let terminal = Terminal::with_visits();
    let few = r#"@id("few") permit(principal, action == Action::"increment", resource);"#;
    let upper = "AB".repeat(32);
    terminal.write("few.cedar", few);
    let banned =
        format!("@id(\"banned\")\nforbid(principal == Key::\"{upper}\", action, resource);");
    terminal.write("banned.cedar", format!("{few}\n\n// Keep him out.\n{banned}\n"));
    let limit = "forbid(principal, action, resource)\nwhen { context.after has limit };";
    terminal.write("dead.cedar", format!("{few}\n@id(\"limit\") {limit}\n"));
    let dormant = format!("@id(\"limit\") @dormant(\"of the next version\")\n{limit}");
    terminal.write("dormant.cedar", format!("{few}\n{dormant}\n"));
    terminal.write("empty.cedar", "// Nothing.\n");
    let secret = format!("--secret {}", "0".repeat(64));
    let lines = [
        "create object.wasm hello --policy banned.cedar".to_string(),
        "--json create object.wasm hello --policy dead.cedar".to_string(),
        "create object.wasm hello --policy empty.cedar".to_string(),
        format!("create object.wasm hello --policy few.cedar --name board {secret}"),
        "--json create object.wasm hello --policy dormant.cedar".to_string(),
        "create object.wasm hello --policy dormant.cedar --name other --for-good".to_string(),
        "create object.wasm hello --policy empty.cedar --name tomb --for-good".to_string(),
        "policy check board dead.cedar".to_string(),
        "policy check board dormant.cedar".to_string(),
        "policy amend board banned.cedar".to_string(),
        "write board count=1".to_string(),
        "explain board --refusal 1".to_string(),
        "--json explain board --refusal 1".to_string(),
        "write tomb count=1".to_string(),
        "explain tomb --refusal 1".to_string(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    terminal.check(&lines, expect_file!["transcripts/unmeant.txt"]);
}

#[test]
fn objects_are_given_other_code() {
    let terminal = Terminal::with_visits();
    let policy = r#"@id("open") permit(principal, action, resource)
unless { action == Action::"migrate" };
@id("keeper") permit(principal is Key, action == Action::"upgrade", resource);
@id("taken-over") permit(principal, action == Action::"migrate", resource)
when { context.after.count < 100 };"#;
    terminal.write("keeper.cedar", policy);
    terminal.write("second.wasm", objects::second());
    for name in ["board", "second", "third", "moody", "full"] {
        let create = format!("create object.wasm hello --policy keeper.cedar --name {name}");
        terminal.run(&create).done();
    }
    terminal.run("call board increment 5").done();
    terminal.run("write moody mood=10").done();
    terminal.run("write full count=100").done();
    let shown = terminal.run("show board --json").done();
    let shown: Json = serde_json::from_str(&shown).unwrap();
    let all = format!(
        "upgrade --all-of {} second.wasm --sign owner.key",
        shown["code"].as_str().unwrap()
    );
    let again = format!("--json {all}");
    let lines = [
        "upgrade board",
        "upgrade visits second.wasm --sign owner.key",
        "upgrade board second.wasm",
        "upgrade board second.wasm --policy policy.cedar --sign owner.key",
        "upgrade board second.wasm --sign owner.key --dry-run",
        "upgrade board second.wasm --sign owner.key",
        "get board count",
        "call board increment 1",
        "call board ring",
        "history board",
        "--json history board",
        "explain board 2",
        "--json explain board 2",
        "diff board 1",
        "--json diff board 1",
        "blame board label",
        &all,
        "write moody mood=1",
        &again,
        "history full --refused",
        "verify --all --replay",
    ];
    terminal.check(&lines, expect_file!["transcripts/upgrades.txt"]);
}

#[test]
fn an_object_is_moved_there_and_back() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    terminal.run("advance visits").done();
    let export = |line: &str, goes_on: &str| {
        let told = terminal.run(&format!("export visits {line}")).done();
        assert!(told.contains(&format!("goes on  {goes_on}")), "{told}");
    };
    export("first.continuant", "here too: --move ends it here");
    export("moved.continuant --move", "in another database: it ended here until it comes back");
    let lines = [
        "show visits",
        "list",
        "call visits increment 1",
        "import moved.continuant --db other --name visits",
        "import moved.continuant --db other --name again",
        "call visits increment 2 --db other",
    ];
    terminal.check(&lines, expect_file!["transcripts/moves.txt"]);
    export("back.continuant --move --db other", "in another database");
    let lines = [
        "import first.continuant",
        "import moved.continuant",
        "import back.continuant",
        "call visits increment 3",
        "import back.continuant",
        "export visits --take-back",
        "export visits --take-back --db other",
        "call visits increment 4 --db other",
    ];
    terminal.check(&lines, expect_file!["transcripts/returns.txt"]);
    export("parted.continuant --db other", "here too");
    let printed = terminal.run("import parted.continuant");
    assert_eq!(printed.code, Some(1), "{printed:?}");
    assert!(printed.stderr.contains("and the capsule's differ from version 4 on"), "{printed:?}");
    let told = terminal.run("--json export visits again.continuant --move").done();
    let told: Json = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["moved"], &told["wakes_twice"]), (&true.into(), &Json::Null));
    terminal.run("export visits --take-back").done();
    terminal.run("verify visits --replay").done();
    terminal.run("check").done();
}

#[test]
fn the_evidence_tree_is_the_same_from_the_index_and_from_the_log() {
    let terminal = Terminal::with_visits();
    let json = |line: &str| -> Json {
        serde_json::from_str(&terminal.run(&format!("--json {line}")).done()).unwrap()
    };
    let before = json("evidence");
    terminal.run("call visits increment 1").done();
    let (shown, checked) = (json("evidence"), json("check"));
    assert_eq!(checked["evidence"], shown);
    assert_eq!(shown["leaves"], before["leaves"].as_u64().unwrap() + 1);
    let root = shown["root"].as_str().unwrap();
    assert!(root.len() == 64 && before["root"] != root, "{shown}");
    for line in ["evidence", "check"] {
        assert!(terminal.run(line).done().contains(root), "{line}");
    }
    terminal.run("check --repair").done();
    assert_eq!(json("evidence"), shown);
}

#[test]
fn a_fork_is_made_without_a_wake() {
    let terminal = Terminal::with_visits();
    let lines = [
        "call visits ring",
        "fork visits --name quiet --no-wake",
        "fork visits --name loud",
        "blame loud label",
        "--json blame quiet label",
    ];
    terminal.check(&lines, expect_file!["transcripts/forks.txt"]);
    let told = terminal.run("export visits visits.continuant").done();
    assert!(told.contains("here too, and wakes at "), "{told}");
    terminal.run("run").done();
    let counts = ["visits", "loud", "quiet"].map(|name| format!("get {name} count"));
    assert_eq!(counts.map(|line| terminal.run(&line).done()), ["1\n", "1\n", "0\n"]);
}

#[test]
fn dead_letters_are_tried_again_and_dropped() {
    let terminal = Terminal::with_visits();
    let guest = root().join("guest");
    terminal.write("purse.wasm", std::fs::read(guest.join("objects/purse.wasm")).unwrap());
    let policy = std::fs::read_to_string(guest.join("examples/purse/policy.cedar")).unwrap();
    let owner = terminal.owner();
    terminal.write("purse.cedar", policy.replace(&"0".repeat(64), &owner));
    terminal.run(&format!("create purse.wasm {owner} --policy purse.cedar --name ada")).done();
    terminal.run("call ada mint 100 --sign owner.key").done();
    let visits: Json = serde_json::from_str(&terminal.run("--json show visits").done()).unwrap();
    // Letters are listed by whom they are to: this one comes first.
    let nobody = format!("{:064}", 7);
    for to in [visits["object"].as_str().unwrap(), &nobody] {
        terminal.run(&format!("call ada pay {to} 20 --sign owner.key")).done();
    }
    let listed = terminal.run("--json dead-letters").done();
    let letters: Vec<Json> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let to_nobody = letters.iter().find(|letter| letter["to"] == nobody).unwrap();
    let token = to_nobody["letter"].as_str().unwrap();
    let one = format!("dead-letters retry {}-0", &token[..16]);
    let lines = [
        "dead-letters",
        "dead-letters retry",
        "dead-letters retry 12345678-0",
        "dead-letters drop abc-0",
        &one,
        "dead-letters retry --all",
        "--json dead-letters drop --all",
        "dead-letters",
        "dead-letters drop --all",
    ];
    terminal.check(&lines, expect_file!["transcripts/letters.txt"]);
    // Regression: what dead letters held was to be looked for in the outboxes.
    for _ in 0..2 {
        terminal.run(&format!("call ada pay {nobody} 10 --sign owner.key")).done();
    }
    terminal.run("retain --versions 1").done();
    let held = "versions are held because they sent dead letters (see `dead-letters`)";
    let compacted = terminal.run("compact --all").done();
    assert!(compacted.lines().any(|line| line == held), "{compacted}");
    terminal.run("outbox mail --new").done();
    terminal.run("call ada mint 10 --sign owner.key").done();
    let compacted = terminal.run("compact --all").done();
    assert!(compacted.contains("(see `outbox`), or they sent"), "{compacted}");
}

#[test]
fn an_object_is_read_as_its_policy_lets_somebody() {
    let terminal = Terminal::with_visits();
    let key = "5".repeat(64);
    let policy = format!(
        r#"@id("increment") permit(principal, action == Action::"increment", resource);
           @id("count-is-public") permit(principal, action == Action::"read", resource)
           when {{ context.field == "count" }};
           @id("auditor") permit(principal == Key::"{key}", action == Action::"read", resource);"#
    );
    terminal.write("readable.cedar", policy);
    terminal.run("create object.wasm hello --policy readable.cedar --name board").done();
    terminal.run("call board increment 3").done();
    let lines = [
        "read board --as anonymous".to_string(),
        "--json read board --as anonymous".to_string(),
        "read board count --as anonymous".to_string(),
        "read board label --as anonymous".to_string(),
        "--json read board label --as anonymous".to_string(),
        format!("read board --as {key}"),
        format!("--json read board label --as {key}"),
        "read board --as anonymous --at 0".to_string(),
        "read board missing --as anonymous".to_string(),
        "read board --as nobody".to_string(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    terminal.check(&lines, expect_file!["transcripts/reads.txt"]);
}

#[test]
fn calls_are_made_in_a_session() {
    let terminal = Terminal::with_visits();
    let text = std::fs::read_to_string(terminal.path("policy.cedar")).unwrap();
    let opens = r#"@id("opens")
        permit(principal is Key, action == Action::"open_session", resource);
        @id("attended") forbid(principal, action == Action::"rename", resource)
        when { context.credential == "session" && context.input.to == "no" };"#;
    terminal.write("sessions.cedar", format!("{text}\n{opens}"));
    terminal.write("wrong.session", "no secret\n");
    terminal.run("create object.wasm hello --policy sessions.cedar --name board").done();
    let lines = [
        "session new board.session --for 2h",
        "session new board.session",
        "session new long.session --for 8d",
        "session open board board.session",
        "session open board board.session --sign owner.key --nonce 7",
        "session open board long.session --sign owner.key --nonce 8",
        "session open board wrong.session --sign owner.key",
        "call board rename hello --session board.session --nonce 1",
        "call board rename hello --session board.session --nonce 1",
        "call board rename no --session board.session --nonce 2",
        "call board rename no --session board.session --sign owner.key",
        "call board rename no --nonce 3",
        "call visits rename hello --session board.session --nonce 1",
        "dry-run board rename no --session board.session --nonce 2",
        "--json history board",
        "verify board --replay",
    ];
    terminal.check(&lines, expect_file!["transcripts/sessions.txt"]);
    let history = terminal.run("history board").done();
    assert!(history.contains(" in session  rename(to: hello) "), "{history}");
}

#[test]
fn what_decided_is_explained() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("call visits rename hello --sign owner.key --nonce 7").done();
    assert_eq!(terminal.run("call visits increment 1001").code, Some(3));
    assert_eq!(terminal.run("call visits rename no").code, Some(3));
    assert_eq!(terminal.run("call visits rename no --sign owner.key --nonce 7").code, Some(3));
    let lines = [
        "explain visits",
        "explain visits 0",
        "explain visits 1",
        "explain visits --refusal 1",
        "explain visits --refusal 2",
        "explain visits --refusal 3",
        "history visits --refused",
        "--json explain visits 2",
        "--json explain visits --refusal 1",
        "--json explain visits --refusal 3",
        "explain visits 3",
        "explain visits --refusal 4",
        "explain visits 1 --refusal 1",
    ];
    terminal.check(&lines, expect_file!["transcripts/explained.txt"]);
}

#[test]
fn a_dry_run_says_what_would_happen() {
    let terminal = Terminal::with_visits();
    let lines = [
        "dry-run visits increment 2",
        "dry-run visits ring",
        "dry-run visits write count=40 mood=7",
        "dry-run visits increment 1001",
        "--json dry-run visits increment 2",
        "--json dry-run visits increment 1001",
        "dry-run visits rename hello",
        "dry-run visits rename hello --sign owner.key --nonce 7",
        "call visits rename hello --sign owner.key --nonce 7",
        "dry-run visits rename hello --sign owner.key --nonce 7",
        "admit visits increment 2",
        "admit --dry-run visits increment 2",
        "dry-run visits decrement",
        "dry-run visits write count",
        "history visits",
    ];
    terminal.check(&lines, expect_file!["transcripts/dry-runs.txt"]);
}

#[test]
fn a_sound_database_is_checked_and_its_index_made_anew() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    let checked = terminal.run("check --json").done();
    let checked: serde_json::Value = serde_json::from_str(&checked).unwrap();
    let count = |name: &str| checked[name].as_u64().unwrap();
    assert_eq!((count("objects"), count("versions"), count("damage_count")), (1, 2, 0));
    let repaired = terminal.run("check --repair").done();
    assert!(repaired.contains("damage    none"), "{repaired}");
    assert_eq!(terminal.run("get visits count").done(), "2\n");
}

#[test]
fn an_object_moves_in_a_capsule() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    terminal.run("export visits visits.continuant").done();
    let verified = terminal.run("verify visits.continuant --replay").done();
    assert!(verified.contains("verified, replayed"), "{verified}");
    terminal.run("import visits.continuant --db other").done();
    let object: serde_json::Value =
        serde_json::from_str(&terminal.run("show visits --json").done()).unwrap();
    let id = object["object"].as_str().unwrap();
    terminal.run(&format!("call {} increment 3 --db other", &id[..6])).done();
    assert_eq!(terminal.run(&format!("get {id} count --db other")).done(), "5\n");
    assert_eq!(terminal.run("get visits count").done(), "2\n");
    std::fs::rename(terminal.path("visits.continuant"), terminal.path("renamed")).unwrap();
    terminal.run("verify renamed").done();
}

#[test]
fn memory_is_dumped_byte_for_byte() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 2").done();
    let dumped = terminal.run("dump visits --json --output memory").done();
    let dumped: serde_json::Value = serde_json::from_str(&dumped).unwrap();
    let memory = std::fs::read(terminal.path("memory")).unwrap();
    assert_eq!(dumped["bytes"], memory.len());
    assert_eq!(dumped["memory_root"], blake3::hash(&memory).to_string());
    let piped = terminal.command("dump visits").output().unwrap();
    assert!(piped.status.success() && piped.stdout == memory);
    let earlier = terminal.command("dump visits --at 0").output().unwrap();
    assert!(earlier.stdout.len() == memory.len() && earlier.stdout != memory);
}

#[test]
fn every_command_prints_json() {
    let terminal = Terminal::with_visits();
    let lines = [
        "--json init --db other",
        "--json key new second.key",
        "--json create object.wasm two --policy policy.cedar --name two",
        "--json call visits increment 2",
        "--json call visits ring",
        "--json advance visits",
        "--json write visits count=9",
        "--json show visits",
        "--json get visits label",
        "--json at visits 0",
        "--json diff visits 0 1",
        "--json blame visits count",
    ];
    terminal.check(&lines, expect_file!["transcripts/json.txt"]);
    assert_eq!(terminal.run("call visits increment 1001").code, Some(3));
    let lines = ["--json history visits", "--json verify visits --replay", "--json run"];
    terminal.check(&lines, expect_file!["transcripts/json-history.txt"]);
    let list = terminal.run("--json list").done();
    let names: Vec<serde_json::Value> = list
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].clone())
        .collect();
    assert!(names.len() == 2 && names.contains(&"visits".into()) && names.contains(&"two".into()));
    assert_eq!(terminal.run("--json verify --all").done().lines().count(), 2);
}

#[test]
fn a_list_is_narrowed_down_and_goes_on() {
    let terminal = Terminal::with_visits();
    for name in ["visits-2", "visits-3", "other"] {
        let create = "create object.wasm welcome --policy policy.cedar --name";
        terminal.run(&format!("{create} {name}")).done();
    }
    let listed = |rest: &str| {
        let printed = terminal.run(&format!("--json list {rest}"));
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        assert_eq!(printed.stdout.is_empty(), printed.stderr.contains("no-objects"));
        let printed = printed.stdout;
        let documents = printed.lines().map(|line| serde_json::from_str(line).unwrap());
        documents.collect::<Vec<Json>>()
    };
    let all = listed("");
    let text = |info: &Json, field: &str| info[field].as_str().unwrap().to_string();
    let names = |rest: &str| {
        let mut names: Vec<_> = listed(rest).iter().map(|info| text(info, "name")).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("--name visits"), ["visits", "visits-2", "visits-3"]);
    assert_eq!(names("--name visits-"), ["visits-2", "visits-3"]);
    assert_eq!(names(&format!("--code {} --name o", text(&all[0], "code"))), ["other"]);
    assert_eq!(names(&format!("--code {}", "0".repeat(64))), [""; 0]);
    assert_eq!(names("--created-since 2000-01-01 --changed-since 2000-01-01").len(), 4);
    assert_eq!(names("--created-until 2000-01-01"), [""; 0]);
    assert_eq!(names("--changed-until 2000-01-01"), [""; 0]);
    let changed = terminal.run("--json call other increment 2").done();
    let changed: Json = serde_json::from_str(&changed).unwrap();
    let since = listed(&format!("--changed-since {}", text(&changed, "time")));
    assert!(since.iter().any(|info| info["name"] == "other"));
    let (first, rest) = (listed("--limit 2"), |after: &str| listed(&format!("--after {after}")));
    let last = text(&first[1], "object");
    let objects = |list: &[Json]| list.iter().map(|it| text(it, "object")).collect::<Vec<_>>();
    assert_eq!(objects(&[&first[..], &rest(&last)].concat()), objects(&all));
    assert_eq!(objects(&rest(&last[..16])), objects(&all[2..]), "by its first digits");
    let shown = terminal.run("list --name other").done();
    assert_eq!((shown.lines().count(), shown.contains("other")), (2, true));
    assert_eq!(terminal.run("list --after nobody").code, Some(5));
    assert_eq!(terminal.run("list --code 12").code, Some(5));
}

#[test]
fn a_due_cycle_is_run_by_whoever_comes_by() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    let ran = terminal.run("run --json").done();
    let ran: serde_json::Value = serde_json::from_str(&ran).unwrap();
    assert_eq!((&ran["name"], &ran["versions"]), (&"visits".into(), &1.into()));
    assert_eq!(terminal.run("get visits count").done(), "1\n");
    terminal.run("call visits ring").done();
    let stayed = terminal.run("run --for 20ms --json").done();
    assert_eq!(stayed.lines().count(), 1, "{stayed}");
    assert_eq!(terminal.run("get visits count").done(), "2\n");
    let none = "no object was due, and no wake is set\n";
    assert_eq!(terminal.run("run").done(), none);
}

#[test]
fn looking_at_an_object_never_runs_it() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    terminal.run("show visits").done();
    terminal.run("list").done();
    assert_eq!(terminal.run("get visits count").done(), "0\n");
}

#[test]
fn the_database_is_named_by_option_or_environment() {
    let terminal = Terminal::with_visits();
    let listed = terminal.command("list").env("CONTINUANT_DB", "continuant.db").output().unwrap();
    assert!(listed.status.success());
    let missing = terminal.command("list").env("CONTINUANT_DB", "nowhere").output().unwrap();
    assert_eq!(missing.status.code(), Some(5));
    let mut given = terminal.command("list --db continuant.db");
    let given = given.env("CONTINUANT_DB", "nowhere").output().unwrap();
    assert!(given.status.success(), "the option comes first");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let terminal = Terminal::with_visits();
    for line in ["list", "list --json", "history visits", "dump visits", "show visits"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = terminal.command(line);
        let output = command.stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*without_notes(&stderr)), (Some(0), ""), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_is_for_its_owners_eyes() {
    use std::os::unix::fs::PermissionsExt;
    let terminal = Terminal::new();
    terminal.run("key new owner.key").done();
    let path = terminal.path("owner.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("continuant key 2\ned25519\nsecret "), "{}", text.len());
    let again = terminal.run("key new owner.key");
    assert_eq!(again.code, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "it was not written over");
}

#[test]
fn help_says_what_the_exit_codes_are() {
    let help = Terminal::new().run("help").done();
    for line in ["3  refused by a policy", "4  damaged, lost, or does not verify", "CONTINUANT_DB"]
    {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn inputs_that_break_an_invariant_are_found_and_told() {
    let terminal = Terminal::with_visits();
    terminal.write(
        "invariants.cedar",
        "@id(\"mood\") forbid(principal, action, resource)\n\
         when { context.after has mood && context.after.mood == 9 };\n",
    );
    let fuzz = "fuzz object.wasm welcome --policy policy.cedar";
    let lines = [
        "--steps 2000 --seed 1 --invariant context.lineage.seq>=1",
        "--steps 20000 --seed 1 --invariant context.after.count<=1500 --sign owner.key",
        "--steps 20000 --seed 2 --invariants invariants.cedar",
        "--steps 20000 --seed 2 --invariant context.after.label==\"welcome\" --sign owner.key",
        "--steps 100 --invariant context.after.cuont>0",
        "--steps 100 --invariants policy.cedar",
        "--steps 100 --minutes 1",
    ];
    let lines: Vec<String> = lines.iter().map(|rest| format!("{fuzz} {rest}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    terminal.check(&lines, expect_file!["transcripts/fuzz.txt"]);
    let again = terminal.run(&format!("--json {}", lines[1]));
    assert_eq!(again.code, Some(6));
    let report: Json = serde_json::from_str(&again.stdout).unwrap();
    let broken = &report["broken"];
    assert_eq!(broken["invariant"], "invariant-1");
    let inputs = broken["inputs"].as_array().unwrap();
    assert_eq!((inputs.len(), &inputs[1]["method"]), (2, &"increment".into()));
    assert_eq!(inputs[1]["steps"][0]["rules"], serde_json::json!(["open"]));
    assert_eq!(again.stdout, terminal.run(&format!("--json {}", lines[1])).stdout);
}
