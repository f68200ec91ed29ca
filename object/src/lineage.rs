//! Jump pointers over a lineage.
//!
//! Besides its parent each version names one far ancestor: the skew-binary jump pointer of Myers,
//! "An applicative random-access stack" (1983). Following the jump when it does not overshoot and
//! the parent otherwise reaches any ancestor in at most `3 log2(n + 1)` headers.
//!
//! This module knows numbers of versions alone, and no header.

/// The version that the jump pointer of version `seq` names; 0 for version 0.
///
/// Written greedily as a sum of numbers `2^k - 1`, `seq` less its smallest term.
pub fn jump_seq(seq: u64) -> u64 {
    let mut rest = seq;
    let mut term = 0;
    while rest > 0 {
        term = if rest == u64::MAX { rest } else { (1 << (rest + 1).ilog2()) - 1 };
        rest -= term;
    }
    seq - term
}

/// The next version on the shortest way from `from` down to `to`.
///
/// # Panics
///
/// When `to` is not below `from`.
pub fn next_seq(from: u64, to: u64) -> u64 {
    assert!(to < from, "an ancestor comes before");
    let next = match jump_seq(from) {
        jump if jump >= to => jump,
        _ => from - 1,
    };
    debug_assert!((to..from).contains(&next), "each step goes down, and not below the end");
    next
}

/// The links from a version through its jumps to the genesis, each with a value that its holder
/// keeps: all that the next version's jump needs, in O(log n) space.
///
/// Invariant: the first link is the head's; each next one is at `jump_seq` of the one before.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Spine<T> {
    links: Vec<(u64, T)>,
}

/// A clone has room for one more: it is made to be the spine of the next version.
impl<T: Copy> Clone for Spine<T> {
    fn clone(&self) -> Spine<T> {
        let mut links = Vec::with_capacity(self.links.len() + 1);
        links.extend_from_slice(&self.links);
        Spine { links }
    }
}

impl<T: Copy> Spine<T> {
    /// The spine of a lineage without a version.
    pub fn new() -> Spine<T> {
        Spine { links: Vec::new() }
    }

    /// A spine from its links, head first.
    ///
    /// # Panics
    ///
    /// When they are not at each other's [`jump_seq`], down to 0.
    pub fn from_links(links: Vec<(u64, T)>) -> Spine<T> {
        for pair in links.windows(2) {
            assert_eq!(pair[1].0, jump_seq(pair[0].0), "links follow the jumps");
        }
        assert_eq!(links.last().map_or(0, |last| last.0), 0, "the last link is the genesis");
        Spine { links }
    }

    /// The links, head first.
    pub fn links(&self) -> &[(u64, T)] {
        &self.links
    }

    /// Applies `each` to every kept value.
    pub fn change(&mut self, mut each: impl FnMut(&mut T)) {
        self.links.iter_mut().for_each(|(_, kept)| each(kept));
    }

    /// The newest version.
    pub fn head(&self) -> Option<(u64, T)> {
        self.links.first().copied()
    }

    /// Returns the kept value of the version that the next version's jump names.
    pub fn next_jump(&self) -> Option<T> {
        let jump = jump_seq(self.links.first()?.0 + 1);
        let at = self.links.iter().find(|link| link.0 == jump);
        Some(at.expect("a jump lands on its parent's spine").1)
    }

    /// Takes the next version as the head.
    pub fn push(&mut self, kept: T) {
        let Some(&(head, _)) = self.links.first() else {
            self.links.push((0, kept));
            return;
        };
        let jump = jump_seq(head + 1);
        // The links descend, so the links that no later jump can reach come first.
        match self.links.partition_point(|link| link.0 > jump) {
            0 => self.links.insert(0, (head + 1, kept)),
            let_go => {
                self.links.drain(1..let_go);
                self.links[0] = (head + 1, kept);
            }
        }
        debug_assert_eq!(self.links.get(1).map(|link| link.0), Some(jump));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_follow_the_recurrence_of_myers() {
        for seq in 1..10_000_u64 {
            let parent = seq - 1;
            let (jump, jump2) = (jump_seq(parent), jump_seq(jump_seq(parent)));
            let expected = if parent > 0 && parent - jump == jump - jump2 { jump2 } else { parent };
            assert_eq!(jump_seq(seq), expected, "seq {seq}");
        }
        assert_eq!(jump_seq(u64::MAX), 0);
    }

    #[test]
    fn any_ancestor_is_a_few_headers_away() {
        for from in [1_u64, 2, 3, 1000, 65_535, 1 << 20, (1 << 40) + 12_345] {
            for to in [0, 1, from / 3, from / 2, from - 1] {
                let mut steps = 0;
                let mut at = from;
                while at > to {
                    at = next_seq(at, to);
                    steps += 1;
                }
                assert_eq!(at, to);
                assert!(steps <= 3 * (from + 1).ilog2(), "{steps} steps from {from} to {to}");
            }
        }
    }

    #[test]
    fn a_spine_always_holds_the_next_jump() {
        let mut spine = Spine::new();
        for seq in 0..5000_u64 {
            if seq > 0 {
                assert_eq!(spine.next_jump(), Some(jump_seq(seq)));
            }
            spine.push(seq);
            assert_eq!(spine, Spine::from_links(spine.links.clone()));
        }
    }
}
