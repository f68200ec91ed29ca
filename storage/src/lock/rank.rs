//! The ranks of the store's locks, from the top. Ranks of the engine stand between the first two
//! and the others (10 to 99), and below all (from 200) where callbacks of the log take them.

crate::ranks! {
    /// Segments are replaced by packs, or copied. The progress that the caller is shown may ask the
    /// database for anything but that.
    Compacting = 2, "compaction";
    /// A capsule's records are staged. The reader that the caller gave may ask the database for
    /// anything but another import.
    Importing = 4, "imports";
    /// The handle of the indexer's thread; closing waits for it.
    Indexer = 100, "the indexer";
    /// The index is written.
    Covered = 106, "the writing of the index";
    /// The evidence tree.
    Evidence = 107, "the evidence tree";
    /// Rows that the index does not have; frames are pushed under it.
    Heads = 108, "the heads";
    /// The handle of the committer's thread; closing waits for it.
    Committer = 110, "the committer";
    /// The open group.
    Writer = 112, "the log's writer";
    /// The open files of segments.
    Files = 114, "the open segments";
    /// The block of a pack that was read last.
    Block = 116, "a pack's last block";
    /// Rows that were read lately.
    RowCache = 118, "the row cache";
    /// Base images that somebody holds.
    Bases = 120, "the base images";
    /// The next task of the indexer's thread.
    Request = 122, "the indexer's request";
    /// The changes to an index that is opened to read.
    Overlay = 124, "an overlay";
}
