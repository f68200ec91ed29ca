//! Figures of what a log wrote.
//!
//! It does not know who counts.

use std::time::Duration;

/// Figures of the log since the store was opened: of what became durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Groups.
    pub group_count: u64,
    /// Frames.
    pub frame_count: u64,
    /// Frames in the largest of the groups.
    pub group_frames_max: u64,
    /// Bytes of the frames, with their headers.
    pub bytes_count: u64,
    /// Syncs.
    pub sync_count: u64,
    /// How long the syncs took together.
    pub sync_time: Duration,
}
