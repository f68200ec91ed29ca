//! Modules of future upgrades, kept until the log has them.
//!
//! This module does not know who offers one, nor who takes it.

use std::collections::HashMap;
use std::sync::Arc;

use object::hash::CodeHash;
use storage::lock::Mutex;

use crate::rank;

/// Modules that are not in the log yet.
#[derive(Debug, Default)]
pub(crate) struct Offered(Mutex<HashMap<CodeHash, Arc<[u8]>>, rank::Offers>);

impl Offered {
    /// Takes in a module that somebody offers.
    pub(crate) fn put(&self, code: CodeHash, wasm: Arc<[u8]>) {
        self.0.lock().insert(code, wasm);
    }

    /// A module that was offered.
    pub(crate) fn get(&self, code: CodeHash) -> Option<Arc<[u8]>> {
        self.0.lock().get(&code).cloned()
    }

    /// Lets a module go that is in the log now.
    pub(crate) fn forget(&self, code: CodeHash) {
        self.0.lock().remove(&code);
    }
}
