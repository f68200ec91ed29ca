//! The functions of an object, as its schema has them.

use std::sync::Arc;

use crate::types::{Record, Type};

/// The name of the method that runs once, when an object is made.
pub const CREATE: &str = "create";
/// The name of the function that makes a new state from that of the old code, in an upgrade.
pub const MIGRATE: &str = "migrate";

/// The parts that parsing yields.
pub(crate) struct Parts {
    pub(crate) package: String,
    pub(crate) state: Arc<Record>,
    /// The constructor too, if there is one.
    pub(crate) methods: Vec<Method>,
    /// The record that the function `migrate` takes, if there is one.
    pub(crate) migrate: Option<Type>,
}

/// A function of an object.
#[derive(Debug, Clone)]
pub struct Method {
    /// Kebab-case name, also the name of the module's export.
    pub name: String,
    /// The parameters in the order of the text.
    pub params: Vec<Param>,
    /// The type of the result.
    pub result: Option<Type>,
}

/// A parameter of a method.
#[derive(Debug, Clone)]
pub struct Param {
    /// Kebab-case name.
    pub name: String,
    /// The parameter's type.
    pub ty: Type,
}
