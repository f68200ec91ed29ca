//! The policy of an aircraft: every rule, each way.

use continuant_policy::{Facts, Policy, Principal, Values, derived_schema};
use expect_test::{Expect, expect, expect_file};
use object::credential::PublicKey;
use object::hash::ObjectId;
use object::time::Time;
use schema::{Schema, Value};

use super::{OBJECT, decide, facts, parse, print, record, values};

pub(super) const WIT: &str = "
    package fleet:aircraft@1.0.0;

    interface aircraft {
        record state {
            operator: list<u8>,
            flights: u64,
            cancellations: u64,
            diversions: u64,
            minutes: u64,
            miles: u64,
            minutes-since-inspection: u64,
            free-at: u64,
            notice: option<u64>,
        }
        create: func(operator: list<u8>);
        fly: func(departure: u64, minutes: u64, miles: u64);
        cancel: func();
        divert: func();
    }";

pub(super) const POLICY: &str = r#"
@id("anyone")
permit(principal, action in [Action::"fly", Action::"cancel", Action::"divert"], resource);

@id("itself")
permit(principal is Object, action == Action::"advance", resource) when { principal == resource };

// Only its operator may fly it, or say that it does not.
@id("operator")
forbid(principal, action in [Action::"fly", Action::"cancel"], resource)
unless { context.signers.contains(context.before.operator) };

@id("overlap")
forbid(principal, action == Action::"fly", resource)
when { context.input.departure < context.before.free_at };

@id("inspection")
forbid(principal, action == Action::"fly", resource)
when { context.after.minutes_since_inspection > 6000 };

@id("arithmetic")
forbid(principal, action == Action::"fly", resource)
unless {
    context.after.flights == context.before.flights + 1 &&
    context.after.minutes == context.before.minutes + context.input.minutes &&
    context.after.miles == context.before.miles + context.input.miles &&
    context.after.free_at == context.input.departure + context.input.minutes
};

@id("cycle")
forbid(principal, action == Action::"advance", resource)
unless { context.before has notice && context.time >= context.before.notice };
"#;

const OPERATOR: [u8; 32] = [0xab; 32];

#[derive(Clone, Copy)]
struct State {
    flights: u64,
    minutes: u64,
    since: u64,
    free_at: u64,
    notice: Option<u64>,
}

const REST: State = State { flights: 3, minutes: 600, since: 5800, free_at: 1000, notice: None };

impl State {
    fn value(self) -> Value {
        record(&[
            ("operator", Value::Bytes(OPERATOR.to_vec())),
            ("flights", self.flights.into()),
            ("cancellations", 0u64.into()),
            ("diversions", 0u64.into()),
            ("minutes", self.minutes.into()),
            ("miles", (self.minutes * 8).into()),
            ("minutes-since-inspection", self.since.into()),
            ("free-at", self.free_at.into()),
            ("notice", self.notice.into()),
        ])
    }

    fn flown(self, departure: u64, minutes: u64) -> State {
        State {
            flights: self.flights + 1,
            minutes: self.minutes + minutes,
            since: self.since + minutes,
            free_at: departure + minutes,
            ..self
        }
    }
}

fn schema() -> Schema {
    Schema::parse(WIT).unwrap()
}

fn policy() -> Policy {
    parse(POLICY, &schema()).unwrap()
}

/// Checks the decision on a flight, signed by `signers`, from `before` to `after`.
fn check_fly(before: State, after: State, flight: (u64, u64), signers: &[[u8; 32]], want: Expect) {
    let (before, after) = (before.value(), after.value());
    let (departure, minutes) = flight;
    let input = [("departure", departure), ("minutes", minutes), ("miles", minutes * 8)]
        .map(|(name, number)| (name.to_string(), number.into()));
    let signers: Vec<PublicKey> = signers.iter().copied().map(PublicKey).collect();
    let facts = Facts { signers: &signers, ..facts("fly") };
    let values = Values { before: &before, after: &after, input: &input };
    want.assert_eq(&print(&decide(&policy(), &schema(), &facts, &values)));
}

fn check(facts: &Facts<'_>, values: &Values<'_>, want: Expect) {
    want.assert_eq(&print(&decide(&policy(), &schema(), facts, values)));
}

#[test]
fn a_flight_by_the_operator_is_admitted() {
    let signers = [[1; 32], OPERATOR];
    check_fly(REST, REST.flown(1000, 200), (1000, 200), &signers, expect!["permit by anyone"]);
}

#[test]
fn a_flight_without_the_operator_is_refused() {
    let after = REST.flown(1000, 200);
    check_fly(
        REST,
        after,
        (1000, 200),
        &[[1; 32]],
        expect!["refuse by [operator]: a rule forbids it"],
    );
}

#[test]
fn a_flight_before_the_last_one_ends_is_refused() {
    let after = REST.flown(999, 200);
    check_fly(
        REST,
        after,
        (999, 200),
        &[OPERATOR],
        expect!["refuse by [overlap]: a rule forbids it"],
    );
}

#[test]
fn a_flight_too_long_after_an_inspection_is_refused_by_every_rule_that_it_breaks() {
    let after = REST.flown(999, 201);
    check_fly(
        REST,
        after,
        (999, 201),
        &[OPERATOR],
        expect!["refuse by [inspection overlap]: a rule forbids it"],
    );
}

#[test]
fn a_flight_that_counts_wrongly_is_refused() {
    let after = State { flights: 9, ..REST.flown(1000, 200) };
    check_fly(
        REST,
        after,
        (1000, 200),
        &[OPERATOR],
        expect!["refuse by [arithmetic]: a rule forbids it"],
    );
}

#[test]
fn a_sum_beyond_cedars_long_refuses_and_names_the_rule() {
    let before = State { flights: i64::MAX as u64, ..REST };
    check_fly(
        before,
        REST,
        (1000, 200),
        &[OPERATOR],
        expect![[r#"
        refuse by [arithmetic]: rule arithmetic could not be evaluated: integer overflow
            while attempting to add the values `9223372036854775807` and `1`"#]],
    );
}

#[test]
fn a_number_beyond_cedars_long_refuses_and_is_named() {
    let before = State { free_at: 1 << 63, ..REST };
    check_fly(
        before,
        REST,
        (1000, 200),
        &[OPERATOR],
        expect!["refuse by []: before.free-at is above what a policy can count to"],
    );
}

#[test]
fn a_diversion_is_open_to_anyone_and_a_cancellation_is_not() {
    let state = REST.value();
    check(&facts("divert"), &values(&state), expect!["permit by anyone"]);
    check(&facts("cancel"), &values(&state), expect!["refuse by [operator]: a rule forbids it"]);
}

#[test]
fn the_cycle_runs_for_the_object_itself_when_its_time_has_come() {
    let (noticed, unnoticed) = (State { notice: Some(5000), ..REST }.value(), REST.value());
    let (noticed, unnoticed) = (values(&noticed), values(&unnoticed));
    let itself = Principal::Object(OBJECT);
    let due = Facts { principal: itself, time: Time::from_millis(5000), ..facts("advance") };
    check(&due, &noticed, expect!["permit by itself"]);
    check(
        &Facts { time: Time::from_millis(4999), ..due },
        &noticed,
        expect!["refuse by [cycle]: a rule forbids it"],
    );
    check(&due, &unnoticed, expect!["refuse by [cycle]: a rule forbids it"]);
    let other = Facts { principal: Principal::Object(ObjectId([8; 32])), ..due };
    check(&other, &noticed, expect!["refuse by []: no rule permits it"]);
}

#[test]
fn what_no_rule_mentions_is_refused() {
    let state = REST.value();
    check(&facts("write"), &values(&state), expect!["refuse by []: no rule permits it"]);
    check(
        &facts("create"),
        &values(&state),
        expect!["refuse by []: action is not of the policy's schema"],
    );
}

#[test]
fn the_derived_schema_is_printed() {
    expect_file!["aircraft.cedarschema"]
        .assert_eq(&derived_schema(&Schema::parse(WIT).unwrap()).unwrap());
}
