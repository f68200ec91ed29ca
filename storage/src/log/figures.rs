//! Figures of a log's writes.
//!
//! This module does not know who counts.

use std::time::Duration;

/// Figures of the durable part of the log since the store was opened.
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
    /// The total time of the syncs.
    pub sync_time: Duration,
}
