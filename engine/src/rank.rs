//! The ranks of the engine's locks, from the top. Those of the store have the numbers to 9, under
//! which what callers gave runs, and from 100 to 199.

storage::ranks! {
    /// The last nonces issued: several for a batch, in the order of their addresses.
    Nonces = 10, "the last nonces", several;
    /// The state of the thread that works for a database without workers.
    InlineWorker = 20, "the inline worker";
    /// An object at its newest version. Several for a transaction, in the order of its inputs: all
    /// of its objects have come to it, so no other turn holds one of them.
    Live = 30, "an object on its turn", several;
    /// The residents, the coldest first.
    Ring = 40, "the ring of residents";
    /// The residents by id.
    Shard = 50, "a shard of the residents";
    /// An object's letters: several for a transaction, in the order of the objects' ids.
    Mail = 60, "a mailbox", several;
    /// A transaction on its way.
    Transaction = 62, "a transaction";
    /// Wakes that made no version.
    Missed = 64, "the wakes that are overdue";
    /// When objects wake.
    Wakes = 66, "the timer";
    /// The wait until all is worked through.
    InFlight = 68, "the letters under way";
    /// The run queue of a database without workers.
    Turns = 70, "the inline worker's run queue";
    /// A worker that may be asleep.
    Sleep = 72, "a worker's sleep";
    /// Definitions, and code that is compiled.
    Known = 74, "the catalog";
    /// Modules that are not in the log yet.
    Offers = 76, "the modules on offer";
    /// Secrets of sessions.
    Secrets = 78, "the sessions";
    /// The waiters for a durable version: callbacks of the log take it.
    Waiting = 200, "a ticket";
}
