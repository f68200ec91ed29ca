//! Integration tests of the engine: public API only.
//!
//! - `tidy`: the walls of the house style, over the whole tree.

mod tidy;
