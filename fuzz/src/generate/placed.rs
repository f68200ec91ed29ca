//! Values in a memory, put where the code under test asks.
//!
//! This module does not know whether that is the right place.

use std::sync::Arc;

use object::limits::PAGE_BYTES;
use rand::RngExt;
use rand::rngs::StdRng;
use schema::{CoreValue, Lower, Param, Type, Value, lower_args};

use super::decision;

/// The address of states in memory.
pub(crate) const STATE: u32 = PAGE_BYTES as u32;

/// A state, and a memory that has it.
pub(crate) struct Placed {
    pub(crate) value: Value,
    pub(crate) image: Vec<u8>,
}

impl Placed {
    pub(crate) fn draw(rng: &mut StdRng, ty: &Type) -> Placed {
        let value = decision::value(rng, ty);
        let gap = rng.random_range(0..PAGE_BYTES);
        let mut arena = Arena { image: Vec::new(), end: PAGE_BYTES, gap };
        // As an item of a list, it is put in memory whole.
        let list = Type::List(Arc::new(ty.clone()));
        let params = [Param { name: "states".to_string(), ty: list }];
        let flat = lower_args(&[Value::List(vec![value.clone()])], &params, &mut arena);
        assert_eq!(flat.ok(), Some(vec![CoreValue::I32(STATE), CoreValue::I32(1)]));
        Placed { value, image: arena.image }
    }
}

/// A memory that is given out from its start to its end.
pub(crate) struct Arena {
    pub(crate) image: Vec<u8>,
    end: usize,
    /// Bytes that are left out behind the state, so that what follows is cut into pages anywhere.
    gap: usize,
}

impl Arena {
    pub(crate) fn new() -> Arena {
        Arena { image: Vec::new(), end: PAGE_BYTES, gap: 0 }
    }
}

impl Lower for Arena {
    type Error = object::Error;

    fn allocate(&mut self, bytes: u32, align: u32) -> Result<u32, object::Error> {
        let start = self.end.next_multiple_of(align as usize);
        self.end = start + bytes as usize;
        self.end += std::mem::take(&mut self.gap);
        self.image.resize(self.end.next_multiple_of(PAGE_BYTES), 0xAA);
        Ok(start as u32)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), object::Error> {
        self.image[address as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
