;; A well-behaved model whose `apply` asks a body for its answer, through slot 0 of a table.
;;
;; Its state is one number, the last that the body gave. What a body answers to `run`:
;; the low two bits choose, the rest (n) is the parameter:
;;   0  the state becomes n
;;   1  the action is refused
;;   2  the state is what stands in memory: 16 bits of address, 14 bits of length
;;   3  as 2, with any address and any length
;;
;; Memory: 1,024 constants; 2,048 what calls return; 4,096 digits; from 8,192 what calls are
;; given. Bodies may import it, so nothing in it is certain once a body has run.
(module
  (type $run (func (param i32 i32) (result i32)))
  (import "reductor:reducer/host@1.0.0" "dispatch"
    (func $dispatch (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "reductor:reducer/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "reductor:reducer/host@1.0.0" "panicked" (func $panicked (param i32 i32 i32 i32)))
  (import "[export]reductor:reducer/model@1.0.0" "[resource-new]document" (func $new (param i32) (result i32)))
  (import "[export]reductor:reducer/model@1.0.0" "[resource-drop]document" (func $drop (param i32)))

  (memory (export "memory") 1)
  (table (export "body") 1 funcref)
  ;; For bodies: the host's functions as this module has them.
  (export "dispatch" (func $dispatch))
  (export "log" (func $log))
  (export "panicked" (func $panicked))
  (export "document-new" (func $new))
  (export "document-drop" (func $drop))

  (data (i32.const 1024) "fuzz/shell")
  (data (i32.const 1040) "global")
  (data (i32.const 1056) "RUN")
  (data (i32.const 1072) "{}")
  (data (i32.const 1088) "no upgrades")
  ;; The list of scopes, and that of actions.
  (data (i32.const 1104) "\10\04\00\00\06\00\00\00")
  (data (i32.const 1120) "\20\04\00\00\03\00\00\00\30\04\00\00\02\00\00\00")

  (global $state (mut i32) (i32.const 0))
  (global $calls (mut i32) (i32.const 0))
  (global $free (mut i32) (i32.const 8192))

  ;; Hands out memory until there is none, and begins again: nothing is kept between calls.
  (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (if (i32.gt_u (local.get $size) (i32.const 32768)) (then unreachable))
    (if (i32.gt_u (i32.add (local.get $at) (local.get $size)) (i32.const 65536))
      (then (local.set $at (i32.const 8192))))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  ;; Stores two words and returns the address of the second.
  (func $pair (param $at i32) (param $first i32) (param $second i32) (result i32)
    (i32.store (local.get $at) (local.get $first))
    (i32.store offset=4 (local.get $at) (local.get $second))
    (i32.add (local.get $at) (i32.const 8)))

  (func (export "reductor:reducer/model@1.0.0#describe") (result i32)
    (local $at i32)
    (local.set $at (call $pair (i32.const 2048) (i32.const 1024) (i32.const 10)))
    (i32.store (local.get $at) (i32.const 1))
    (local.set $at (call $pair (i32.add (local.get $at) (i32.const 4)) (i32.const 1104) (i32.const 1)))
    (local.set $at (call $pair (local.get $at) (i32.const 1120) (i32.const 1)))
    ;; Canonical.
    (i32.store (local.get $at) (i32.const 1))
    (i32.const 2048))

  ;; The number that a snapshot of one scope holds; an empty one holds 0.
  (func (export "reductor:reducer/model@1.0.0#[static]document.load") (param $list i32) (param $len i32) (result i32)
    (local $at i32) (local $end i32)
    (global.set $state (i32.const 0))
    (global.set $calls (i32.const 0))
    (if (local.get $len) (then
      (local.set $at (i32.load offset=8 (local.get $list)))
      (local.set $end (i32.add (local.get $at) (i32.load offset=12 (local.get $list))))
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
          (global.set $state
            (i32.add
              (i32.mul (global.get $state) (i32.const 10))
              (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next)))))
    (call $pair (i32.const 2048) (i32.const 0) (call $new (i32.const 7)))
    (drop)
    (i32.const 2048))

  ;; Writes the state in digits that end at 4,112, and the list of them at an address.
  (func $digits (param $list i32)
    (local $rest i32) (local $at i32)
    (local.set $rest (global.get $state))
    (local.set $at (i32.const 4112))
    (loop $next
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $rest) (i32.const 10))))
      (local.set $rest (i32.div_u (local.get $rest) (i32.const 10)))
      (br_if $next (local.get $rest)))
    (drop (call $pair (local.get $list) (local.get $at) (i32.sub (i32.const 4112) (local.get $at)))))

  (func (export "reductor:reducer/model@1.0.0#[method]document.state") (param i32 i32 i32) (result i32)
    (call $digits (i32.const 2048))
    (i32.const 2048))

  (func (export "reductor:reducer/model@1.0.0#[method]document.apply") (param $action i32) (result i32)
    (local $answer i32) (local $n i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $answer
      (call_indirect (type $run) (local.get $action) (global.get $calls) (i32.const 0)))
    (local.set $n (i32.shr_u (local.get $answer) (i32.const 2)))
    (i32.store (i32.const 2048) (i32.const 0))
    (block $wild
      (block $memory
        (block $refused
          (block $number
            (br_table $number $refused $memory $wild (i32.and (local.get $answer) (i32.const 3))))
          (global.set $state (local.get $n))
          (call $digits (i32.const 2052))
          (return (i32.const 2048)))
        (i32.store (i32.const 2048) (i32.const 1))
        (drop (call $pair (i32.const 2052) (i32.const 1056) (i32.const 3)))
        (drop (call $pair (i32.const 2060) (i32.const 1024) (i32.const 10)))
        (return (i32.const 2048)))
      (drop (call $pair (i32.const 2052)
        (i32.and (local.get $n) (i32.const 0xffff)) (i32.shr_u (local.get $n) (i32.const 16))))
      (return (i32.const 2048)))
    (drop (call $pair (i32.const 2052)
      (i32.shl (local.get $n) (i32.const 4)) (i32.and (local.get $n) (i32.const 0xffffff))))
    (i32.const 2048))

  (func (export "reductor:reducer/model@1.0.0#upgrade") (param i32 i32 i32) (result i32)
    (i32.store (i32.const 2048) (i32.const 1))
    (drop (call $pair (i32.const 2052) (i32.const 1088) (i32.const 11)))
    (i32.const 2048))

  (func (export "reductor:reducer/model@1.0.0#[dtor]document") (param i32)))
