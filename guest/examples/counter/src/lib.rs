//! The smallest object: it counts, and its policy says how far.
//!
//! It does not know the limit; that is the policy's.

#![no_std]

#[continuant_guest::object(package = "example:counter@1.0.0")]
mod counter {
    pub struct State {
        count: u64,
    }

    impl State {
        /// Adds to the count, and gives it back.
        pub fn increment(&mut self, by: u64) -> u64 {
            self.count = self.count.wrapping_add(by);
            self.count
        }
    }
}
