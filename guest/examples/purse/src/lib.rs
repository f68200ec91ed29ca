//! A purse: what one gives, another gets, by a message from the one to the other.
//!
//! It does not know who may do what; that is its policy's, which takes money only from purses that
//! were created with the same code and the same policy.

#![no_std]

#[continuant_guest::object(package = "example:purse@1.0.0", arguments = 128)]
mod purse {
    use continuant_guest::{Payload, Text, send, trap};

    pub struct State {
        balance: u64,
        owner: Text<64>,
    }

    impl State {
        /// An empty purse of whoever has this key, in 64 hexadecimal digits.
        pub fn create(&mut self, owner: &str) {
            self.owner.set(owner);
        }

        /// Money from nowhere.
        pub fn mint(&mut self, amount: u64) {
            self.add(amount);
        }

        /// Gives to another purse, by its id.
        pub fn pay(&mut self, to: &[u8], amount: u64) {
            self.balance = match self.balance.checked_sub(amount) {
                Some(balance) => balance,
                None => trap(),
            };
            send(to, "deposit", Payload::<8>::new().put(amount).as_bytes());
        }

        /// Money of another purse.
        pub fn deposit(&mut self, amount: u64) {
            self.add(amount);
        }

        fn add(&mut self, amount: u64) {
            self.balance = match self.balance.checked_add(amount) {
                Some(balance) => balance,
                None => trap(),
            };
        }
    }
}
