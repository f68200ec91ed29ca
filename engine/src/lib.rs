//! x

pub mod instrument;
