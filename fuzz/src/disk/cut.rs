//! Power cuts: a volume is left with all that is durable, and with any part of the rest.
//!
//! Each write that was not synced is kept, lost or torn, independently of those before it; a length
//! is one that the file had since its last sync; a change of names is kept with all earlier ones of
//! the same names, or lost. This module does not know what files mean.
//!
//! Invariant: everything synced is kept.

use std::collections::{BTreeMap, HashSet};

use rand::RngExt;
use rand::rngs::StdRng;

use super::content::Content;
use super::volume::{Change, File, Node, Volume};

/// The size of a sector, which a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// The part of the rest that a power cut leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaves {
    /// Everything that the process had written, as when only the process ends.
    Everything,
    Nothing,
    /// Any part of it.
    Some,
}

/// The fate of a write.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Kept,
    Lost,
    /// Only the write's first bytes are kept.
    Cut,
    /// Only some of the write's sectors are kept.
    Torn,
}

impl Volume {
    /// The disk that a power cut leaves; everything on it is durable.
    pub(crate) fn cut(&self, leaves: Leaves, rng: &mut StdRng) -> Volume {
        let share = share(leaves, rng);
        let names = self.names_left(share, rng);
        let mut files = BTreeMap::new();
        for node in names.values() {
            if let Node::File(id) = node {
                let durable = self.files[id].left(leaves, rng);
                files.insert(*id, File { cached: durable.clone(), durable, pending: Vec::new() });
            }
        }
        Volume::of(names, files)
    }

    fn names_left(&self, share: f64, rng: &mut StdRng) -> super::volume::Names {
        let pending = &self.pending_names;
        let mut kept: Vec<bool> = pending.iter().map(|_| rng.random_bool(share)).collect();
        let mut needed = HashSet::new();
        for (change, kept) in pending.iter().zip(&mut kept).rev() {
            *kept |= change.paths().any(|path| needed.contains(path));
            if *kept {
                needed.extend(change.paths());
            }
        }
        let mut names = self.durable_names.clone();
        for (change, _) in pending.iter().zip(kept).filter(|(_, kept)| *kept) {
            change.apply(&mut names);
        }
        // Without its directory a name is gone too; parents come first.
        let mut left = super::volume::Names::new();
        for (path, node) in names {
            if path.parent().is_none_or(|parent| left.contains_key(parent)) {
                left.insert(path, node);
            }
        }
        left
    }

    /// Fails to sync a file: some of what was written may be durable, the rest will never be,
    /// though it is still read until it is no longer cached.
    pub(crate) fn lose(&mut self, file: super::volume::FileId, rng: &mut StdRng) {
        let file = self.file(file);
        file.durable = file.left(Leaves::Some, rng);
        file.pending.clear();
    }
}

impl File {
    /// Returns the content of the file after a power cut.
    fn left(&self, leaves: Leaves, rng: &mut StdRng) -> Content {
        let mut content = self.durable.clone();
        if self.pending.is_empty() || leaves == Leaves::Nothing {
            return content;
        }
        let share = share(leaves, rng);
        let lengths = match leaves {
            Leaves::Some => rng.random_range(0..=self.pending.len()),
            _ => self.pending.len(),
        };
        let mut length = content.length();
        for (index, change) in self.pending.iter().enumerate() {
            let has_length = index < lengths;
            match change {
                Change::Write { offset, bytes } => {
                    write(&mut content, *offset, bytes, fate(leaves, share, rng), rng);
                }
                change if has_length => change.apply(&mut content),
                _ => {}
            }
            if has_length {
                length = change.length_after(length);
            }
        }
        content.set_length(length);
        content
    }
}

fn share(leaves: Leaves, rng: &mut StdRng) -> f64 {
    match leaves {
        Leaves::Everything => 1.0,
        Leaves::Nothing => 0.0,
        Leaves::Some => [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)],
    }
}

fn fate(leaves: Leaves, share: f64, rng: &mut StdRng) -> Fate {
    match (leaves, rng.random_range(0..8)) {
        (Leaves::Some, 0) => Fate::Cut,
        (Leaves::Some, 1) => Fate::Torn,
        _ if rng.random_bool(share) => Fate::Kept,
        _ => Fate::Lost,
    }
}

fn write(content: &mut Content, offset: u64, bytes: &[u8], fate: Fate, rng: &mut StdRng) {
    match fate {
        Fate::Lost => {}
        Fate::Kept => content.write(bytes, offset),
        Fate::Cut => content.write(&bytes[..rng.random_range(0..bytes.len())], offset),
        Fate::Torn => {
            let (mut at, end) = (offset, offset + bytes.len() as u64);
            while at < end {
                let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                let part = (at - offset) as usize..(next.min(end) - offset) as usize;
                if rng.random_bool(0.5) {
                    content.write(&bytes[part], at);
                }
                at = next;
            }
        }
    }
}
