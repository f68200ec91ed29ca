//! Names that are set, moved and freed, and their history; and objects that are deleted.

use serde_json::{Value, json};

use crate::terminal::Terminal;

fn shown(terminal: &Terminal, line: &str) -> Value {
    serde_json::from_str(&terminal.run(&format!("{line} --json")).done()).unwrap()
}

#[test]
fn names_change_hands_and_show_who_had_them() {
    let terminal = Terminal::with_visits();
    terminal.run("fork visits 0 --name other").done();
    let [one, two] = ["visits", "other"].map(|name| shown(&terminal, &format!("show {name}")));
    let [one, two] = [&one["object"], &two["object"]];
    let set = shown(&terminal, "name set visits guests");
    assert_eq!(set, json!({ "object": one, "name": "guests", "before": "visits" }));
    assert_eq!(terminal.run("get visits count").code, Some(5), "the name is free");
    let moved = shown(&terminal, "name move guests other");
    assert_eq!(moved, json!({ "name": "guests", "from": one, "to": two }));
    let freed = shown(&terminal, "name free guests");
    assert_eq!(freed, json!({ "name": "guests", "from": two, "to": null }));
    terminal.run(&format!("name set {} guests", one.as_str().unwrap())).done();
    let history = terminal.run("name history guests --json").done();
    let history: Vec<Value> =
        history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let objects: Vec<&Value> = history.iter().map(|it| &it["object"]).collect();
    assert_eq!(objects, [one, two, one], "newest first");
    assert_eq!(history[0]["until"], Value::Null);
    assert_eq!(history[1]["from"], history[2]["until"], "moved in one frame");
    let table = terminal.run("name history guests").done();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.contains("now"), "{table}");
}

#[test]
fn what_cannot_be_named_so_says_why() {
    let terminal = Terminal::with_visits();
    terminal.run("fork visits 0 --name other").done();
    for (line, kind, code) in [
        ("name set visits other", "name-taken", 1),
        ("name set nobody new", "no-object", 5),
        ("name move nothing visits", "no-name", 5),
        ("name move other nobody", "no-object", 5),
        ("name free nothing", "no-name", 5),
    ] {
        let printed = terminal.run(&format!("{line} --json"));
        let error: Value = serde_json::from_str(&printed.stderr).unwrap();
        assert_eq!((&error["error"]["kind"], printed.code), (&kind.into(), Some(code)), "{line}");
    }
    let printed = terminal.run("name history nothing");
    assert_eq!((printed.code, printed.stdout), (Some(0), String::new()));
    assert_eq!(printed.stderr, "note: no object ever had that name\n");
}

#[test]
fn a_deleted_object_is_marked_and_says_so_to_whoever_asks_for_more() {
    let terminal = Terminal::with_visits();
    let refused = terminal.run("delete visits");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("visits refuses delete: not-permitted"), "{}", refused.stderr);
    let policy = std::fs::read_to_string(terminal.path("policy.cedar")).unwrap();
    let end = r#"@id("end") permit(principal is Key, action == Action::"delete", resource);"#;
    terminal.write("ends.cedar", format!("{policy}\n{end}\n"));
    terminal.run("create object.wasm hello --policy ends.cedar --name ends --for-good").done();
    terminal.run("call ends increment 5").done();
    let id = shown(&terminal, "show ends")["object"].as_str().unwrap().to_string();
    let checked = terminal.run("policy check ends ends.cedar").done();
    assert!(checked.contains("can be deleted") && checked.contains("yes"), "{checked}");
    assert_eq!(shown(&terminal, "policy check ends policy.cedar")["deletable"], false);
    assert_eq!(terminal.run("delete ends").code, Some(3), "nobody signed");
    let receipt = shown(&terminal, "delete ends --sign owner.key");
    assert_eq!((&receipt["kind"], &receipt["seq"]), (&"delete".into(), &2.into()));
    assert_eq!(terminal.run("show ends").code, Some(5), "the name is free");
    let listed = terminal.run("list").done();
    assert!(listed.contains("deleted"), "{listed}");
    assert!(!terminal.run("list --living").done().contains("deleted"));
    let [show, info] = [format!("show {id}"), "check".to_string()];
    assert!(terminal.run(&show).done().contains("deleted"));
    assert!(shown(&terminal, &show)["deleted"].is_string());
    assert!(terminal.run(&info).done().contains(", 1 of them deleted"));
    assert_eq!(shown(&terminal, "check")["deleted"], 1);
    assert_eq!(terminal.run(&format!("get {id} count")).done(), "5\n");
    assert!(terminal.run(&format!("history {id}")).done().contains("delete"));
    terminal.run(&format!("explain {id} 2")).done();
    terminal.run(&format!("verify {id} --replay")).done();
    for line in [
        "call ID increment 1",
        "delete ID",
        "fork ID",
        "dry-run ID increment 1",
        "name set ID again",
        "export ID moved.continuant --move",
    ] {
        let printed = terminal.run(&format!("{} --json", line.replace("ID", &id)));
        let error: Value = serde_json::from_str(&printed.stderr).unwrap();
        assert_eq!((&error["error"]["kind"], printed.code), (&"deleted".into(), Some(1)), "{line}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("was deleted at 20"), "{message}");
    }
    terminal.run(&format!("export {id} last.continuant")).done();
    terminal.run("verify last.continuant --replay").done();
    terminal.run("import last.continuant --db other").done();
    assert!(terminal.run("list --db other").done().contains("deleted"));
    let named = terminal.run("import last.continuant --db third --name ends");
    assert_eq!(named.code, Some(1), "{}", named.stderr);
}
