//! A parcel on its way: an object with something of every type that the SDK has.
//!
//! It does not know the way; that stages follow one another is its policy's.

#![no_std]

#[continuant_guest::object(package = "example:parcel@1.0.0", arguments = 64)]
mod parcel {
    use continuant_guest::{Bytes, Maybe, Text, now};

    #[derive(Clone, Copy, PartialEq)]
    pub enum Stage {
        Packed,
        UnderWay,
        Delivered,
    }

    #[derive(Clone, Copy)]
    pub struct Place {
        latitude: f64,
        longitude: f64,
        floor: i8,
    }

    pub struct State {
        label: Text<40>,
        stage: Stage,
        place: Place,
        /// The last three weights in grams, the last one first.
        weights: [u32; 3],
        delivered_at: Maybe<u64>,
        signature: Bytes<64>,
        class: char,
        fragile: bool,
    }

    impl State {
        pub fn create(&mut self, label: &str, class: char, fragile: bool) {
            self.label.set(label);
            self.class = class;
            self.fragile = fragile;
        }

        /// Says where it is, and gives back where it was.
        pub fn arrive(&mut self, place: Place, stage: Option<Stage>) -> Place {
            let before = self.place;
            self.place = place;
            self.stage = stage.unwrap_or(self.stage);
            before
        }

        /// Gives back by how much it became heavier.
        pub fn weigh(&mut self, grams: u32) -> i64 {
            let [last, before, _] = self.weights;
            self.weights = [grams, last, before];
            i64::from(grams) - i64::from(last)
        }

        pub fn deliver(&mut self, signature: &[u8]) {
            self.stage = Stage::Delivered;
            self.signature.set(signature);
            self.delivered_at.set(Some(now()));
        }

        pub fn label(&self) -> &str {
            &self.label
        }

        pub fn signature(&self) -> &[u8] {
            &self.signature
        }

        pub fn how_far(&self) -> Stage {
            self.stage
        }

        pub fn delivered_at(&self) -> Option<u64> {
            self.delivered_at.get()
        }

        pub fn class(&self) -> char {
            self.class
        }
    }
}
