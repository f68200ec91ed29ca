//! The ranks of the store's locks, from the top. Those of the engine are between the first two and
//! the others, but for what the log's callbacks take, which is below all: they have the numbers from
//! 10 to 99, and from 200.

crate::ranks! {
    /// Segments are replaced by packs, or copied. The progress that the caller is shown may ask the
    /// database for anything but that.
    Compacting = 2, "compaction";
    /// A capsule's records are staged. The reader that the caller gave may ask the database for
    /// anything but another import.
    Importing = 4, "imports";
    /// Who closes the store waits for the indexer's thread.
    Indexer = 100, "the indexer";
    /// The index is written.
    Covered = 106, "the writing of the index";
    /// Rows that the index does not have; frames are pushed under it.
    Heads = 108, "the heads";
    /// Who closes the log waits for the committer's thread.
    Committer = 110, "the committer";
    /// The open group.
    Writer = 112, "the log's writer";
    /// Which files of segments are open.
    Files = 114, "the open segments";
    /// The block of a pack that was read last.
    Block = 116, "a pack's last block";
    /// Rows that were read lately.
    Seen = 118, "the row cache";
    /// Base images that somebody holds.
    Bases = 120, "the base images";
    /// What the indexer's thread is to do.
    Wish = 122, "the indexer's wish";
    /// What was changed of an index that is opened to read.
    Overlay = 124, "an overlay";
}
