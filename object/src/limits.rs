//! Every limit of the formats, in one place.
//!
//! These bound what a decoder allocates and what a verifier does for an untrusted object; the
//! engine's options may be tighter, never wider.

/// Bytes in a page of an object's memory: the unit that is hashed, stored and compared.
pub const PAGE_BYTES: usize = 4096;
/// Bytes in a WebAssembly page: the unit that a memory grows by.
pub const WASM_PAGE_BYTES: usize = 65_536;
/// Bytes of linear memory that an object may have.
pub const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Mutable globals that an object may have.
pub const GLOBALS_MAX: usize = 1024;
/// Bytes of a module.
pub const CODE_BYTES_MAX: usize = 4 << 20;
/// Bytes of WIT text.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Words and signs of WIT text, comments aside.
pub const SCHEMA_WORDS_MAX: usize = 16 << 10;
/// The nesting of brackets in WIT text.
pub const SCHEMA_NESTING_MAX: usize = 32;
/// Methods of a schema.
pub const METHODS_MAX: usize = 256;
/// Fields of a record, items of a tuple, cases of a variant or enum, parameters of a method.
pub const FIELDS_MAX: usize = 1024;
/// Flags of one flags type.
pub const FLAGS_MAX: usize = 32;
/// The nesting of types: a scalar is 1 deep, a list of scalars 2.
pub const TYPE_DEPTH_MAX: usize = 16;
/// The parts of a type written out in full: itself, its fields, their fields and so on. The limit
/// bounds the work that is done for each part, and the type's width in memory.
pub const TYPE_PARTS_MAX: usize = 16 << 10;
/// Bytes of all strings and lists that a state points to, each counted as often as it occurs.
pub const STATE_BYTES_MAX: u64 = 16 << 20;
/// The values in a state or a result, nested ones included: a few bytes of memory may hold many
/// times as many values.
pub const STATE_VALUES_MAX: u64 = 4 << 20;
/// Core values that a method's parameters flatten to, as in the Canonical ABI.
pub const FLAT_PARAMS_MAX: usize = 16;
/// Bytes of Cedar text.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// Bytes of a guard's module.
pub const GUARD_BYTES_MAX: usize = 64 << 10;
/// Bytes of an encoded policy.
pub const POLICY_ENCODED_MAX: usize = POLICY_BYTES_MAX + GUARD_BYTES_MAX + 12;
/// Bytes of an input's payload: a method's arguments, or a direct write's values together.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Values that a payload consists of, those inside of others among them.
pub const PAYLOAD_VALUES_MAX: u64 = 1 << 20;
/// Fuel of one step.
pub const FUEL_MAX: u64 = 100_000_000;
/// Fuel of a guard's word on one step.
pub const GUARD_FUEL_MAX: u64 = 10_000_000;
/// Bytes of memory that a guard may have.
pub const GUARD_MEMORY_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a method's or an output's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Fields that one direct write sets.
pub const WRITES_MAX: usize = 256;
/// Bytes of the path to a field.
pub const PATH_BYTES_MAX: usize = 1024;
/// Signatures on one input.
pub const SIGNATURES_MAX: usize = 64;
/// Inputs of one batch: a power of two, whose logarithm bounds the path to its root.
pub const BATCH_INPUTS_MAX: usize = 1 << 16;
/// Outputs of one step.
pub const OUTPUTS_MAX: usize = 1024;
/// Messages of one step.
pub const MESSAGES_MAX: usize = 1024;
/// Fuel that each message costs the step that sends it: it bounds the messages that one call sets
/// off, answers to answers included.
pub const MESSAGE_FUEL: u64 = 10_000;
/// Bytes of one step's result, and again of all its outputs' names and payloads, and its messages'
/// methods and arguments, together.
pub const EFFECTS_BYTES_MAX: usize = 1 << 20;
/// Versions of an object, and refusals on record: their successors can always be counted.
pub const SEQ_MAX: u64 = i64::MAX as u64;
/// Rules that an admission names.
pub const RULES_MAX: usize = 256;
/// The keys whose last nonce an object remembers.
pub const NONCES_MAX: usize = 1024;
/// Sessions that an object has open at a time.
pub const SESSIONS_MAX: usize = 256;
/// Sessions that it may have open beside these, when a key that the policy names opens them.
pub const SESSIONS_NAMED_MAX: usize = 64;
/// Keys that the open sessions of an object have together, each counted for each of them.
pub const SESSION_KEYS_MAX: usize = 1024;
/// Keys that they may have beside these, when a key that the policy names opens one.
pub const SESSION_KEYS_NAMED_MAX: usize = 256;
/// Actions that a policy may ask about in the past.
pub const PAST_ACTIONS_MAX: usize = 32;
/// Versions that one action made that a head remembers one by one.
pub const PAST_RECENT_MAX: usize = 64;
/// Arguments of actions that a policy may ask about in the past.
pub const PAST_ARGUMENTS_MAX: usize = 16;
/// Amounts, and different values, of one argument that a head remembers one by one.
pub const PAST_VALUES_MAX: usize = 1024;
/// Bytes of the last text, or the last bytes, of an argument that a head remembers.
pub const PAST_TEXT_BYTES_MAX: usize = 256;
/// The longest time in the future, in milliseconds, at which a signature or a session may expire:
/// after that long, its key's nonce may be forgotten.
pub const EXPIRY_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;
/// Tokens of Cedar text.
pub const POLICY_TOKENS_MAX: usize = 4096;
/// The nesting of brackets in Cedar text.
pub const POLICY_NESTING_MAX: usize = 32;
/// Operators of one chain in Cedar text: an expression between brackets or separators.
pub const POLICY_OPERATORS_MAX: usize = 240;
/// Prefixes and accesses of one operand in Cedar text.
pub const POLICY_ACCESSES_MAX: usize = 64;
/// Operators and brackets on the deepest path into an expression of Cedar text.
pub const POLICY_DEPTH_MAX: usize = 256;
/// Bytes of a string literal in Cedar text.
pub const POLICY_LITERAL_BYTES_MAX: usize = 1024;
/// Attributes of the contexts of all actions of a policy together.
pub const POLICY_ATTRIBUTES_MAX: usize = 32 << 10;
/// Items of a list that a policy reads.
pub const POLICY_SET_ITEMS_MAX: usize = 1024;
/// Bytes of a string that a policy reads; of bytes that it reads, twice as many digits.
pub const POLICY_TEXT_BYTES_MAX: usize = 4096;
/// Bytes of all that a policy reads for one decision, each value being 16 and its text.
pub const POLICY_CONTEXT_BYTES_MAX: usize = 1 << 20;
