//! Names that are set, moved and freed, and their history.

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
