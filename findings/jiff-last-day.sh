#!/usr/bin/env bash
# jiff 0.2.46: the last days of its calendar have no timestamp, in UTC neither.
#
# One would guess that a date and time that parses, and that a civil date-time holds, is a moment in
# UTC: with an offset of zero nothing can overflow. What happens: the calendar goes to the end of
# 9999-12-31, but timestamps end at 9999-12-30T22:00:00.999999999Z, so that a timestamp has a date in
# every offset. `9999-12-31T00:00:00` parses as a civil date-time, and as a moment in UTC it fails with
# an error of range; so does the text `9999-12-31T00:00:00Z` as a timestamp.
#
# So a program that takes any date of four digits, for instance as "for ever", has to say what it does
# with the last 26 hours, and may not call them no date.
#
# Runs jiff alone, in a temporary folder; fails if the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "jiff-last-day"
version = "0.0.0"
edition = "2024"

[dependencies]
jiff = { version = "=0.2.46", default-features = false, features = ["std"] }
TOML
cat > src/main.rs <<'RUST'
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

fn main() {
    let civil = |text: &str| text.parse::<DateTime>().expect("the calendar has it");
    let moment = |text: &str| civil(text).to_zoned(TimeZone::UTC);
    println!("the calendar ends at {}", DateTime::MAX);
    println!("timestamps end at {}", Timestamp::MAX);
    assert_eq!(DateTime::MAX, civil("9999-12-31T23:59:59.999999999"));
    assert_eq!(Timestamp::MAX, "9999-12-30T22:00:00.999999999Z".parse().unwrap());
    assert!(moment("9999-12-30T22:00:00").is_ok());
    for text in ["9999-12-30T23:00:00", "9999-12-31T00:00:00"] {
        println!("{text} in UTC: {}", moment(text).unwrap_err());
        assert!(format!("{text}Z").parse::<Timestamp>().is_err());
    }
}
RUST
cargo run --quiet
