//! An aircraft: it counts its flights, knows when its inspection is due, and does the inspection by
//! itself, 72 hours after the flight on which it fell due.
//!
//! It does not know who may fly it, or when it may not fly: its policy does.
//!
//! Invariant: its wake is set exactly while its notice is open, for 72 hours after the notice.

#![no_std]

#[continuant_guest::object(package = "fleet:aircraft@1.0.0")]
mod aircraft {
    use continuant_guest::{Bytes, Maybe, emit, wake};

    /// Minutes in the air after which an inspection is due.
    const INSPECTION_DUE: u64 = 5_400;
    /// The time from the notice of an inspection to the inspection, in minutes.
    const NOTICE: u64 = 72 * 60;
    const MILLISECONDS: u64 = 60_000;

    /// Times are in minutes since 1970.
    pub struct State {
        /// The public key of who may fly it.
        operator: Bytes<32>,
        flights: u64,
        cancellations: u64,
        diversions: u64,
        minutes: u64,
        miles: u64,
        minutes_since_inspection: u64,
        free_at: u64,
        /// The time of its inspection, if one is due.
        notice: Maybe<u64>,
        notices: u64,
        inspections: u64,
    }

    impl State {
        pub fn create(&mut self, operator: &[u8]) {
            self.operator.set(operator);
        }

        pub fn fly(&mut self, departure: u64, minutes: u64, miles: u64) {
            self.flights += 1;
            self.minutes += minutes;
            self.miles += miles;
            self.minutes_since_inspection += minutes;
            self.free_at = departure + minutes;
            if self.minutes_since_inspection >= INSPECTION_DUE && self.notice.is_none() {
                let inspection = departure + NOTICE;
                self.notice.set(Some(inspection));
                self.notices += 1;
                emit("inspection-due", &inspection.to_le_bytes());
                wake(inspection * MILLISECONDS);
            }
        }

        pub fn cancel(&mut self) {
            self.cancellations += 1;
        }

        pub fn divert(&mut self) {
            self.diversions += 1;
        }

        /// The inspection.
        pub fn cycle(&mut self) {
            self.minutes_since_inspection = 0;
            self.notice.set(None);
            self.inspections += 1;
        }
    }
}
