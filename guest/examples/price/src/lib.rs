//! A price that feeds observe: an example of observations that must be on record before an output.
//!
//! It does not know who may observe, how many feeds a quote takes or how far the price may move:
//! its policy does. It forgets the price by itself when no feed has said one for five minutes.
//!
//! From the command line, from the root of the tree, with two feeds:
//!
//! ```sh
//! continuant key new one.key
//! continuant key new two.key
//! key() { continuant key show $1.key | awk '/^public/ { print $2 }'; }
//! continuant create guest/objects/price.wasm "[\"$(key one)\", \"$(key two)\"]" \
//!     --policy guest/examples/price/policy.cedar --name gold
//! continuant call gold observe 4000 --sign one.key
//! continuant call gold quote                      # refused: one feed in the last minute, not two
//! continuant call gold observe 4010 --sign two.key
//! continuant call gold quote                      # 4010, within a minute of the first observation
//! continuant call gold observe 9000 --sign one.key        # refused by leap
//! continuant run --for 5m                         # the price is forgotten
//! continuant history gold --refused
//! ```
//!
//! Invariant: while there is a price, the next wake is five minutes after it was observed.

#![no_std]

#[continuant_guest::object(package = "example:price@1.0.0")]
mod price {
    use continuant_guest::{Maybe, Str, Texts, emit, now, trap, wake};

    /// The time for which a price is valid, in milliseconds.
    const FRESH: u64 = 5 * 60_000;

    pub struct State {
        /// The public keys that may observe, as 64 hexadecimal digits each.
        feeds: Texts<16, 64>,
        price: Maybe<u64>,
    }

    impl State {
        pub fn create(&mut self, feeds: &[Str]) {
            self.feeds.set(feeds);
        }

        pub fn observe(&mut self, price: u64) {
            self.price.set(Some(price));
            wake(now() + FRESH);
        }

        /// Sends the price, and gives it back.
        pub fn quote(&mut self) -> u64 {
            let Some(price) = self.price.get() else { trap() };
            emit("quote", &price.to_le_bytes());
            price
        }

        /// Forgets a stale price.
        pub fn cycle(&mut self) {
            self.price.set(None);
        }
    }
}
