//! Names that change hands, in the model and in a store: set, moved and freed, as they may be and
//! as they may not.
//!
//! This module does not know what else happens to a store.

use object::hash::ObjectId;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{ErrorKind, Store};

use super::model::Model;
use super::{Draft, Run, append, is};
use crate::generate::lineage::Author;
use crate::outcome::{Outcome, equal, must};

/// Names that are asked for again and again.
const NAMES: [&str; 4] = ["ada", "ben", "cy", "d"];

/// A change of names, at a time.
#[derive(Clone, Debug)]
pub(crate) struct Renaming {
    what: What,
    time: Time,
}

#[derive(Clone, Debug)]
enum What {
    Set(ObjectId, String),
    Move(String, ObjectId),
    Free(String),
}

impl Renaming {
    /// Draws a change, which the model may not allow; none without objects.
    pub(crate) fn draw(rng: &mut StdRng, model: &Model) -> Option<Renaming> {
        let ids: Vec<ObjectId> = model.objects.keys().copied().collect();
        if ids.is_empty() {
            return None;
        }
        let bound: Vec<&String> = model.names.keys().collect();
        let name = match rng.random_bool(0.5) && !bound.is_empty() {
            true => bound[rng.random_range(0..bound.len())].clone(),
            false => NAMES[rng.random_range(0..NAMES.len())].to_string(),
        };
        let id = ids[rng.random_range(0..ids.len())];
        let what = match rng.random_range(0..5) {
            0 | 1 => What::Set(id, name),
            2 | 3 => What::Move(name, id),
            _ => What::Free(name),
        };
        Some(Renaming { what, time: Time::from_millis(rng.random_range(0..1 << 40)) })
    }

    /// Returns whether the model allows it, and whether it changes anything then.
    pub(crate) fn is_change(&self, model: &Model) -> Option<bool> {
        let is_deleted = |id| model.objects[id].is_deleted();
        match &self.what {
            What::Set(id, _) | What::Move(_, id) if is_deleted(id) => None,
            What::Set(id, name) => match model.names.get(name) {
                Some(holder) => (holder == id).then_some(false),
                None => Some(true),
            },
            What::Move(name, to) => model.names.get(name).map(|holder| holder != to),
            What::Free(name) => model.names.get(name).map(|_| true),
        }
    }

    /// Changes the model.
    pub(crate) fn apply(&self, model: &mut Model) {
        let (name, to) = match &self.what {
            What::Set(id, name) | What::Move(name, id) => (name, Some(*id)),
            What::Free(name) => (name, None),
        };
        if to.is_some() && model.names.get(name).copied() == to {
            return;
        }
        let of_receiver = to.and_then(|to| model.objects[&to].name.clone());
        let freed = of_receiver.iter().chain(model.names.contains_key(name).then_some(name));
        let freed: Vec<String> = freed.cloned().collect();
        freed.iter().for_each(|name| model.unbind(name, self.time));
        if let Some(to) = to {
            model.bind(name, to, self.time);
        }
    }

    /// Changes a store.
    pub(crate) fn run(&self, store: &Store) -> storage::Result<()> {
        match &self.what {
            What::Set(id, name) => store.set_name(*id, name, self.time).map(drop),
            What::Move(name, to) => store.move_name(name, *to, self.time).map(drop),
            What::Free(name) => store.free_name(name, self.time).map(drop),
        }
    }
}

impl Run {
    /// Changes names, or asks for a change that cannot be.
    pub(super) fn rename(&mut self) -> Outcome {
        let Some(renaming) = Renaming::draw(&mut self.rng, &self.model) else { return Ok(()) };
        // Frames are counted when they are written.
        must("a sync", self.store().sync())?;
        let frames = self.store().figures().frame_count;
        let result = renaming.run(self.store());
        must("a sync", self.store().sync())?;
        let more = self.store().figures().frame_count - frames;
        match renaming.is_change(&self.model) {
            Some(is_change) => {
                must("a change of names", result)?;
                equal("the frames of a change of names", &u64::from(is_change), &more)?;
                renaming.apply(&mut self.model);
                Ok(())
            }
            None => {
                equal("the frames of no change of names", &0, &more)?;
                is(&result, "names that cannot be so", |kind| {
                    use ErrorKind::{Deleted, NameTaken, NotFound};
                    matches!(kind, NameTaken { .. } | NotFound { .. } | Deleted { .. })
                })
            }
        }
    }

    pub(super) fn taken_name(&mut self) -> Outcome {
        let names: Vec<String> = self.model.names.keys().cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let name = names[self.rng.random_range(0..names.len())].clone();
        let (author, made) = Author::begin(&mut self.rng, &self.ingredients);
        let (made, names) = (vec![made], vec![(name, author.head.id)]);
        let result = append(self.store(), &self.ingredients, &Draft { made, names });
        is(&result, "a name is taken once", |kind| matches!(kind, ErrorKind::NameTaken { .. }))
    }

    /// A name that begins the id of an existing object.
    pub(super) fn name_like_an_id(&mut self) -> Outcome {
        let other = self.authors[self.rng.random_range(0..self.authors.len())].head.id;
        let digits = self.rng.random_range(4..=64);
        let mut name = other.to_string()[..digits].to_string();
        if self.rng.random_bool(0.3) {
            name.make_ascii_uppercase();
        }
        let (author, made) = Author::begin(&mut self.rng, &self.ingredients);
        let (made, names) = (vec![made], vec![(name.clone(), author.head.id)]);
        let result = append(self.store(), &self.ingredients, &Draft { made, names });
        let is_id = |kind: &ErrorKind| matches!(kind, ErrorKind::NameIsId { .. });
        is(&result, "a name is no id", is_id)?;
        let named = self.authors.iter().find(|author| author.head.id != other);
        let Some(named) = named else { return Ok(()) };
        let result = self.store().set_name(named.head.id, &name, Time::MIN);
        is(&result, "a new name is no id", is_id)
    }
}
