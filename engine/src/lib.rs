//! x

pub mod instrument;
pub mod substrate;
