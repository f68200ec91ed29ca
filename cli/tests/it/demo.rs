//! The demo: on small files, on bad ones, with other worker counts, and on its month.

use expect_test::{expect, expect_file};
use serde_json::{Value as Json, json};

use crate::terminal::{Terminal, root};

pub(crate) const HEAD: &str =
    "sched_utc_min,carrier,flight,tailnum,origin,dest,dep_utc_min,air_min,distance_mi";

/// N1 flies, tries too early, is tried by another carrier, is diverted by it, and cancelled. N2 has
/// its inspection while it is on the list of departures. N3 may not fly that long, flies a little
/// less, and has its notice open at the end.
const ROWS: &str = "
22617255,UA,1545,N1,EWR,IAH,22617257,227,1400
22617290,UA,1546,N1,EWR,IAH,22617300,10,100
22617480,AA,12,N1,EWR,IAH,22617500,10,100
22617590,AA,13,N1,EWR,IAH,22617600,,100
22617700,UA,1547,N1,EWR,IAH,,,1400
22617790,AA,14,N2,JFK,MIA,22617800,5400,40000
22623290,AA,15,N2,MIA,JFK,22623300,100,1089
22623390,DL,1,N3,LGA,ATL,22623400,6001,50000
22623490,DL,2,N3,LGA,ATL,22623500,5500,45000
";

/// The first `count` rows of the month that `chosen` takes.
pub(crate) fn month(count: usize, chosen: impl Fn(&str) -> bool) -> String {
    let text = std::fs::read_to_string(root().join("cli/data/flights-2013-01.csv")).unwrap();
    let rows = text.lines().skip(1).filter(|row| chosen(row)).take(count);
    std::iter::once(HEAD).chain(rows).map(|line| format!("{line}\n")).collect()
}

/// The last line of a demo that prints JSON.
fn last(printed: &str) -> Json {
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

/// The figures that do not depend on the machine.
fn figures(mut last: Json) -> Json {
    let figures = last.as_object_mut().unwrap();
    assert!(figures.remove("commits_per_second").unwrap().is_u64());
    assert!(figures.remove("bytes_on_disk").unwrap().as_u64().unwrap() > 0);
    last
}

#[test]
fn a_small_file_is_played() {
    let terminal = Terminal::new();
    terminal.write("small.csv", format!("{HEAD}{ROWS}"));
    let printed = terminal.run("demo --flights small.csv --db fleet --json").done();
    let expected = json!({
        "aircraft": 3,
        "fly": 4,
        "cancel": 1,
        "divert": 1,
        "refused": 3,
        "refused_by": { "operator": 1, "overlap": 1, "inspection": 1 },
        "notices": 2,
        "inspections": 1,
        "minutes": 227 + 5400 + 100 + 5500,
        "miles": 1400 + 40000 + 1089 + 45000,
        "versions": 3 + 4 + 1 + 1 + 1,
        "verified": 3,
        "replayed": 3,
    });
    assert_eq!(figures(last(&printed)), expected);
    let moved = printed.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let moved = { moved }.find(|line| line["phase"] == "move").unwrap();
    assert_eq!((&moved["name"], &moved["kind"]), (&"N3".into(), &"advance".into()));
    assert_eq!(moved["time"], "2013-01-08T18:20:00.000Z", "72 hours after the flight");
    let history = terminal.run("history N2 --db fleet --json").done();
    let entries = history.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let entries = entries.map(|entry| format!("{} {}", entry["time"], entry["input"]["action"]));
    let expected = [
        r#""2013-01-01T19:20:00.000Z" "create""#,
        r#""2013-01-01T19:20:00.000Z" "fly""#,
        r#""2013-01-04T19:20:00.000Z" "advance""#,
        r#""2013-01-05T15:00:00.000Z" "fly""#,
    ];
    assert_eq!(
        entries.collect::<Vec<_>>(),
        expected,
        "the inspection is 72 hours after the notice"
    );
}

#[test]
fn a_small_file_is_reported_to_people() {
    let terminal = Terminal::new();
    terminal.write("small.csv", format!("{HEAD}{ROWS}"));
    let printed = terminal.run("demo --flights small.csv --workers 1").done();
    // Figures of the machine, and of the format, are not this test's.
    let stable = printed.lines().map(|line| {
        let measured = ["/s", "bytes on disk", " in "].iter().find(|word| line.contains(**word));
        let line = measured.map_or(line.to_string(), |word| {
            format!("{}{word} ...", line.split(word).next().unwrap())
        });
        // Columns are as wide as the widest figure.
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    expect![[r#"
        9 rows of small.csv

        objects 3
        versions 10
        fly 4
        cancel 1
        divert 1
        refused 3
        by operator 1
        by overlap 1
        by inspection 1
        notices 2
        inspections 1
        minutes 11,227
        miles 87,489
        lineages verified 3
        lineages replayed 3
        commits/s ...
        versions verified/s ...
        versions replayed/s ...
        bytes on disk ...

        N3 left as version 1 in ...
        database, and was inspected there: version 2, 2013-01-08T18:20:00.000Z
    "#]]
    .assert_eq(&stable.map(|line| line + "\n").collect::<String>());
}

#[test]
fn an_aircraft_without_a_notice_moves_as_well() {
    let terminal = Terminal::new();
    let rows: Vec<&str> = ROWS.trim().lines().take(1).collect();
    terminal.write("one.csv", format!("{HEAD}\r\n{}\r\n", rows.join("\r\n")));
    let printed = terminal.run("demo --flights one.csv --json").done();
    let moved = printed.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let moved = { moved }.find(|line| line["phase"] == "move").unwrap();
    assert_eq!(
        (&moved["kind"], &moved["left"], &moved["seq"]),
        (&"call".into(), &1.into(), &2.into())
    );
}

#[test]
fn a_month_without_flights_is_a_month() {
    let terminal = Terminal::new();
    terminal.write("none.csv", HEAD);
    let printed = terminal.run("demo --flights none.csv --json").done();
    assert_eq!(last(&printed)["aircraft"], 0);
    assert_eq!(last(&printed)["refused_by"], json!({"operator": 0, "overlap": 0, "inspection": 0}));
}

#[test]
fn a_file_that_is_not_of_that_form() {
    let terminal = Terminal::new();
    let play = |content: &[u8]| {
        terminal.write("bad.csv", content);
        let printed = terminal.run("demo --flights bad.csv --db fleet");
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(1), ""));
        assert!(!terminal.path("fleet").exists(), "nothing was played");
        printed.stderr
    };
    let rows = [
        "22617255,UA,1545,N1,EWR,IAH,22617257,227",
        "22617255,UA,1545,N1,EWR,IAH,22617257,227,1400,9",
        "soon,UA,1545,N1,EWR,IAH,22617257,227,1400",
        "22617255,UA,1545,,EWR,IAH,22617257,227,1400",
        "22617255,,1545,N1,EWR,IAH,22617257,227,1400",
        "22617255,UA,1545,N 1,EWR,IAH,22617257,227,1400",
        "22617255,UA,1545,N1,EWR,IAH,-1,227,1400",
        "22617255,UA,1545,N1,EWR,IAH,+1,227,1400",
        "22617255,UA,1545,N1,EWR,IAH,22617257,4294967296,1400",
        "22617255,UA,1545,N1,EWR,IAH,,227,1400",
        "22617255,UA,1545,N1,EWR,IAH,22617257,227,",
        "22617255,UA,1,N1,EWR,IAH,22617257,2,3\n1,UA,1,N1,EWR,IAH,,,3",
        "22617255,UA,1,N1,EWR,IAH,22617257,2,3\n22617255,UA,1,N1,EWR,IAH,1,2,3",
        "22617255,UA,1,N1,EWR,IAH,22617257,2,3\n\n",
    ];
    let mut seen = play(b"") + &play(b"a,b,c\n");
    seen += &play(&[HEAD.as_bytes(), b"\n22617255,U\xff"].concat());
    for row in rows {
        seen += &format!("\n{row}\n{}", play(format!("{HEAD}\n{row}\n").as_bytes()));
    }
    expect_file!["transcripts/flights.txt"].assert_eq(&seen);
}

#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let terminal = Terminal::with_visits();
    terminal.check(&["demo --db continuant.db"], expect_file!["transcripts/not-empty.txt"]);
    assert_eq!(terminal.run("list").done().lines().count(), 2);
}

#[test]
fn the_outcome_does_not_depend_on_the_number_of_workers() {
    let terminal = Terminal::new();
    // One carrier's whole month, in which notices and inspections come due.
    terminal.write("part.csv", month(usize::MAX, |row| row.contains(",B6,")));
    let outcomes = [1, 2, 8].map(|workers| {
        let db = format!("fleet{workers}");
        let demo = format!("demo --flights part.csv --json --db {db} --workers {workers}");
        let figures = figures(last(&terminal.run(&demo).done()));
        // Ids, and hashes of the newest versions: all that ever happened to each aircraft.
        (figures, terminal.run(&format!("list --json --db {db}")).done())
    });
    assert_eq!(
        (&outcomes[0].0["notices"], &outcomes[0].0["inspections"]),
        (&20.into(), &13.into())
    );
    assert_eq!(outcomes[0].0, outcomes[1].0);
    assert_eq!(outcomes[1].0, outcomes[2].0);
    assert!(outcomes[0].1 == outcomes[1].1 && outcomes[1].1 == outcomes[2].1);
}

#[test]
fn the_month_is_played() {
    let terminal = Terminal::new();
    let expected = json!({
        "aircraft": 3148,
        "fly": 26335,
        "cancel": 366,
        "divert": 85,
        "refused": 63,
        "refused_by": { "operator": 0, "overlap": 6, "inspection": 57 },
        "notices": 69,
        "inspections": 55,
        "minutes": 4_049_215,
        "miles": 26_605_274,
        "versions": 3148 + 26335 + 366 + 85 + 55,
        "verified": 3148,
        "replayed": 3148,
    });
    assert_eq!(figures(last(&terminal.run("demo --json").done())), expected);
}
