//! A vault of three owners, two of whom decide: an example of credentials that are needed for a
//! change.
//!
//! It does not know who may ask for what: its policy does, and two owners may change that too.
//!
//! A delegate pays alone for a while, small amounts, and a key of which an owner has lost hold is
//! replaced by the other two. From the command line, from the root of the tree:
//!
//! ```sh
//! for name in ada ben cyd dan eve; do continuant key new $name.key; done
//! key() { continuant key show $1.key | awk '/^public/ { print $2 }'; }
//! continuant create guest/objects/vault.wasm "[\"$(key ada)\", \"$(key ben)\", \"$(key cyd)\"]" \
//!     --policy guest/examples/vault/policy.cedar --name vault
//! continuant call vault deposit 1000
//! continuant read vault --as anonymous                    # the balance; an owner sees all
//! continuant call vault pay 300 --sign ada.key            # refused: one owner, not two
//! continuant call vault pay 300 --sign ada.key --sign ben.key
//! continuant call vault delegate-to $(key dan) $(($(date +%s) * 1000 + 60000)) \
//!     --sign ada.key --sign cyd.key
//! continuant call vault pay 20 --sign dan.key
//! continuant run --for 1m                                 # the delegation lapses
//! continuant call vault pay 20 --sign dan.key             # refused
//! continuant call vault rotate $(key cyd) $(key eve) --sign ada.key --sign ben.key --sign eve.key
//! sed 's/<= 100/<= 50/' guest/examples/vault/policy.cedar > lower.cedar
//! continuant call vault approve-policy $(continuant policy hash lower.cedar) \
//!     --sign ben.key --sign eve.key
//! continuant policy amend vault lower.cedar --sign ada.key --sign eve.key
//! continuant verify vault --replay
//! ```
//! Keys and hashes are 64 hexadecimal digits; a missing one is an empty text, because a state
//! written with this SDK has no optional texts.
//!
//! Invariant: there are three owners; while there is a delegate, the next wake is when the
//! delegation lapses.

#![no_std]

#[continuant_guest::object(package = "example:vault@1.0.0")]
mod vault {
    use continuant_guest::{Str, Text, Texts, emit, trap, wake};

    pub struct State {
        /// The public keys of which two decide. They are three, so that two are left when one is
        /// lost, and are all that remain when one is replaced.
        owners: Texts<3, 64>,
        /// The public key that pays alone, or nothing.
        delegate: Text<64>,
        /// The end of the delegation, in milliseconds since 1970.
        delegated_until: u64,
        balance: u64,
        /// The hash of the policy that may follow, or nothing.
        approved_policy: Text<64>,
    }

    impl State {
        pub fn create(&mut self, owners: &[Str]) {
            let [one, two, three] = owners else { trap() };
            if **one == **two || **one == **three || **two == **three {
                trap();
            }
            self.owners.set(owners);
        }

        pub fn deposit(&mut self, amount: u64) {
            self.balance = self.balance.wrapping_add(amount);
        }

        /// Pays, as an output, and returns the remaining balance. The policy ensures that there is
        /// enough.
        pub fn pay(&mut self, amount: u64) -> u64 {
            self.balance = self.balance.saturating_sub(amount);
            emit("paid", &amount.to_le_bytes());
            self.balance
        }

        /// Lets a key pay alone until a time, in place of any delegate before; an empty key is
        /// nobody's.
        pub fn delegate_to(&mut self, key: &str, until: u64) {
            self.delegate.set(key);
            self.delegated_until = until;
            wake(until);
        }

        /// Puts an owner in the place of another.
        pub fn rotate(&mut self, old: &str, new: &str) {
            let Some(index) = self.owners.iter().position(|owner| **owner == *old) else { trap() };
            self.owners.replace(index, new);
        }

        pub fn approve_policy(&mut self, hash: &str) {
            self.approved_policy.set(hash);
        }

        /// The delegation lapses.
        pub fn cycle(&mut self) {
            self.delegate.clear();
        }
    }
}
