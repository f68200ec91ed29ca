/* A meter: what it read last, how often, and when. That it never runs backwards, and not faster
 * than it can, is not checked here: its policy refuses that, whatever this code does. */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("continuant"), import_name(name)))

/* The schema. What is between the numbers of a state is as the Canonical ABI lays it out, which
 * for these types is as C does. */
__asm__(".section \".custom_section.continuant:schema\",\"\",@\n"
        ".incbin \"meter.wit\"\n");

enum { SERIAL_BYTES_MAX = 32 };

/* Exported by the linker: `state` is the address, a multiple of a page. */
_Alignas(4096) struct {
    const u8 *serial;
    u32 serial_bytes;
    u64 reading;
    u64 readings;
    u64 recorded_at;
    u8 buffer[SERIAL_BYTES_MAX]; /* behind the record: where its text is */
    u8 argument[SERIAL_BYTES_MAX];
} state;

IMPORT("now") u64 now(void);

/* The host asks for room for an argument, of which no method has more than one. */
EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 old_bytes, u32 align, u32 bytes) {
    (void)old, (void)old_bytes, (void)align;
    if (bytes > SERIAL_BYTES_MAX) __builtin_trap();
    return state.argument;
}

EXPORT("create") void create(const u8 *serial, u32 bytes) {
    __builtin_memcpy(state.buffer, serial, bytes);
    __builtin_memset(state.argument, 0, SERIAL_BYTES_MAX);
    state.serial = state.buffer;
    state.serial_bytes = bytes;
}

EXPORT("record-reading") void record_reading(u64 reading) {
    state.reading = reading;
    state.readings += 1;
    state.recorded_at = now();
}

/* A string is an address and a count: the first two numbers of the state. */
EXPORT("serial") const void *serial(void) {
    return &state;
}
