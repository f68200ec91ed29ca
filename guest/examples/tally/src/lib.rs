//! The second version of the counter: it counts down as well, and notes how often it counted.
//!
//! A counter is upgraded to it: `migrate` takes the state that a counter has. Like the counter it
//! does not know the limit.

#![no_std]

#[continuant_guest::object(package = "example:counter@2.0.0", arguments = 64)]
mod tally {
    /// The state of a counter, as its first version has it.
    pub struct Before {
        count: u64,
    }

    pub struct State {
        balance: i64,
        changes: u32,
    }

    impl State {
        /// Continues from the counter's value. Its earlier calls are not known any more.
        pub fn migrate(&mut self, before: &Before) {
            match i64::try_from(before.count) {
                Ok(balance) => self.balance = balance,
                Err(_) => continuant_guest::trap(),
            }
        }

        /// Adds to the balance, and gives it back.
        pub fn increment(&mut self, by: u64) -> i64 {
            self.add(by as i64)
        }

        /// Takes from the balance, and gives it back.
        pub fn decrement(&mut self, by: u64) -> i64 {
            self.add((by as i64).wrapping_neg())
        }

        fn add(&mut self, by: i64) -> i64 {
            self.balance = self.balance.wrapping_add(by);
            self.changes = self.changes.wrapping_add(1);
            self.balance
        }
    }
}
