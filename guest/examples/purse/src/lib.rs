//! A purse: one purse gives, another gets, by a message from the one to the other.
//!
//! It does not know who may do what; its policy does, which takes money only from purses that were
//! created with the same policy, and whose code is the same, or on the list of codes that its
//! issuer trusts.

#![no_std]

#[continuant_guest::object(package = "example:purse@1.0.0", arguments = 128)]
mod purse {
    use continuant_guest::{Payload, Text, Texts, send, trap};

    pub struct State {
        balance: u64,
        owner: Text<64>,
        /// The hashes of other codes whose money is taken, in 64 hexadecimal digits each.
        trusted: Texts<8, 64>,
    }

    impl State {
        /// Creates an empty purse of the holder of this key, in 64 hexadecimal digits.
        pub fn create(&mut self, owner: &str) {
            self.owner.set(owner);
        }

        /// Money from nowhere.
        pub fn mint(&mut self, amount: u64) {
            self.add(amount);
        }

        /// Takes money of purses of another code as well, by its hash.
        pub fn trust(&mut self, code: &str) {
            if !self.trusted.iter().any(|trusted| **trusted == *code) {
                self.trusted.push(code);
            }
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
