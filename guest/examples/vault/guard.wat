;; A guard for the vault: there are three owners, each a key of 64 digits, and no two are the same.
;;
;; The vault's rules see its owners as a set, which has neither order nor repetition, and cannot
;; count them: a code that wrote one owner down twice would leave two of two to decide. The guard
;; reads the list as it is. From the command line, where the vault's own example is set up:
;;
;;   continuant create guest/objects/vault.wasm "[\"$(key ada)\", \"$(key ben)\", \"$(key cyd)\"]" \
;;       --policy guest/examples/vault/policy.cedar --guard guest/objects/vault-guard.wasm
;;
;; What it refuses it refuses by a code: 1 for a list that is not of three keys, 2 for one that has
;; a key twice.
(module
  (import "continuant" "value" (func $value (param i32 i32 i32 i32) (result i32)))

  (memory (export "memory") 1 1)
  (data (i32.const 0) "after.owners")

  ;; Where the list is read to: a count, then each text behind its length; 208 bytes for three keys.
  (global $list i32 (i32.const 1024))
  (global $first i32 (i32.const 1028))
  (global $second i32 (i32.const 1096))
  (global $third i32 (i32.const 1164))

  (func $is-key (param $text i32) (result i32)
    (i32.eq (i32.load (local.get $text)) (i32.const 64)))

  (func $same (param $one i32) (param $other i32) (result i32)
    (local $at i32)
    (loop $next
      (if (i64.ne
            (i64.load offset=4 (i32.add (local.get $one) (local.get $at)))
            (i64.load offset=4 (i32.add (local.get $other) (local.get $at))))
        (then (return (i32.const 0))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 64))))
    (i32.const 1))

  (func (export "admit") (result i32)
    ;; The length is that of the whole list, whether or not there is room for it.
    (if (i32.ne
          (call $value (i32.const 0) (i32.const 12) (global.get $list) (i32.const 208))
          (i32.const 208))
      (then (return (i32.const 1))))
    (if (i32.ne (i32.load (global.get $list)) (i32.const 3))
      (then (return (i32.const 1))))
    (if (i32.eqz (i32.and (call $is-key (global.get $first))
          (i32.and (call $is-key (global.get $second)) (call $is-key (global.get $third)))))
      (then (return (i32.const 1))))
    (if (i32.or (call $same (global.get $first) (global.get $second))
          (i32.or (call $same (global.get $first) (global.get $third))
            (call $same (global.get $second) (global.get $third))))
      (then (return (i32.const 2))))
    (i32.const 0)))
