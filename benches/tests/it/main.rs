//! Integration tests of the report: that every figure runs and has its shape. Never a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

use continuant_benches::{Request, Sizes, names, run};
use serde_json::Value;

fn report(only: Option<&str>, json: bool) -> anyhow::Result<String> {
    let only = only.map(str::to_string);
    let mut out = Vec::new();
    run(&Request { only, json, rounds: 2, sizes: Sizes::TINY }, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[track_caller]
fn check_shape(line: &str) -> String {
    let figure: Value = serde_json::from_str(line).unwrap();
    let object = figure.as_object().unwrap();
    let keys: Vec<&String> = object.keys().collect();
    assert_eq!(keys, ["name", "value", "unit", "vs"], "{line}");
    assert!(figure["value"].as_f64().unwrap() >= 0.0, "{line}");
    assert!(!figure["unit"].as_str().unwrap().is_empty(), "{line}");
    for peer in figure["vs"].as_array().unwrap() {
        let keys: Vec<&String> = peer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["name", "value", "ratio"], "{line}");
        assert!(peer["value"].as_f64().unwrap() > 0.0, "{line}");
        assert!(peer["ratio"].as_f64().unwrap() > 0.0, "{line}");
    }
    figure["name"].as_str().unwrap().to_string()
}

#[test]
fn every_figure_is_a_line_of_json() {
    let text = report(None, true).unwrap();
    let found: Vec<String> = text.lines().map(check_shape).collect();
    let (memory, found): (Vec<&String>, Vec<&String>) =
        found.iter().partition(|name| name.starts_with("memory.peak."));
    let mut expected = vec!["noise.processor", "noise.sync"];
    expected.extend(names());
    assert_eq!(found, expected);
    assert_eq!(memory.is_empty(), cfg!(not(target_os = "linux")));
}

#[test]
fn figures_with_a_floor_name_it() {
    let text = report(Some("commit.durable"), true).unwrap();
    let figures = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let figures: Vec<Value> =
        figures.filter(|figure| figure["name"].as_str().unwrap().starts_with("commit")).collect();
    assert_eq!(figures.len(), 4);
    for figure in figures {
        assert_eq!(figure["vs"][0]["name"], "floor.append_fdatasync");
    }
}

#[test]
fn people_read_the_machine_the_range_and_the_floor() {
    let text = report(Some("step"), false).unwrap();
    assert!(text.starts_with("machine: "), "{text}");
    assert!(text.contains("step.relaxed ") && text.contains("vs floor.step "), "{text}");
    assert!(text.contains("..") && text.contains("ratio "), "{text}");
}

#[test]
fn an_unknown_name_lists_those_there_are() {
    let error = report(Some("nothing"), true).unwrap_err().to_string();
    assert!(error.contains("verify.replay"), "{error}");
}
