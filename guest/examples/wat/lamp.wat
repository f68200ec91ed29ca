;; A lamp that goes out by itself: it sets its own wake, and its cycle switches it off.
;;
;; All of an object is here: a schema, a state at a page of its own, exports called as the schema
;; says, and calls into the host.
(module
  (import "continuant" "now" (func $now (result i64)))
  (import "continuant" "wake" (func $wake (param i64)))
  (import "continuant" "sleep" (func $sleep))
  (import "continuant" "emit" (func $emit (param i32 i32 i32 i32)))

  (@custom "continuant:schema"
    "package example:lamp@1.0.0;\n"
    "\n"
    "interface lamp {\n"
    "    record state {\n"
    "        on: bool,\n"
    "        until: u64,\n"
    "        switched: u32,\n"
    "    }\n"
    "    switch-on: func(seconds: u32);\n"
    "    switch-off: func() -> bool;\n"
    "}\n")

  ;; One page of 64 KiB, and no more.
  (memory (export "memory") 1 1)
  (global (export "state") i32 (i32.const 4096))
  (data (i32.const 0) "lamp-out")

  ;; The record, by the Canonical ABI: `on` at 0, `until` at 8, `switched` at 16.
  (func $switch (param $on i32) (param $until i64)
    (i32.store8 (i32.const 4096) (local.get $on))
    (i64.store (i32.const 4104) (local.get $until))
    (i32.store (i32.const 4112) (i32.add (i32.load (i32.const 4112)) (i32.const 1))))

  (func (export "switch-on") (param $seconds i32)
    (local $until i64)
    (local.set $until
      (i64.add (call $now)
        (i64.mul (i64.extend_i32_u (local.get $seconds)) (i64.const 1000))))
    (call $switch (i32.const 1) (local.get $until))
    (call $wake (local.get $until)))

  ;; Gives back whether it was on.
  (func (export "switch-off") (result i32)
    (i32.load8_u (i32.const 4096))
    (call $switch (i32.const 0) (i64.const 0))
    (call $sleep))

  (func (export "cycle")
    (call $emit (i32.const 0) (i32.const 8) (i32.const 4104) (i32.const 8))
    (call $switch (i32.const 0) (i64.const 0))))
