;; The core module that every hostile guest starts from: a correct model of world `reducer`,
;; whose state is one number. A file in `wat/` replaces forms of it (the one with the same
;; keyword and name) and adds others.
;;
;;   GOOD   adds one.
;;   BAD    calls $bad, which hostile guests replace.
;;
;; Memory: 16 text, 64 the action's type as `apply` found it, 256 the manifest, 288 what
;; `apply` and `load` return, 512 lists of the manifest, 1024 the state as text, from 65536 a
;; heap that every call begins anew.
(module
  (import "reductor:reducer/host@1.0.0" "dispatch"
    (func $dispatch (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "reductor:reducer/host@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "reductor:reducer/host@1.0.0" "panicked" (func $panicked (param i32 i32 i32 i32)))
  (import "[export]reductor:reducer/model@1.0.0" "[resource-new]document"
    (func $handle_new (param i32) (result i32)))
  (import "[export]reductor:reducer/model@1.0.0" "[resource-rep]document"
    (func $handle_rep (param i32) (result i32)))
  (import "[export]reductor:reducer/model@1.0.0" "[resource-drop]document"
    (func $handle_drop (param i32)))

  (memory $memory 2)
  (global $heap (mut i32) (i32.const 65536))
  (global $count (mut i32) (i32.const 0))

  (data $text (i32.const 16) "hostile/guest" "global" "GOOD" "BAD" "{}")
  ;; Type, version, one scope, two actions, canonical.
  (data $manifest (i32.const 256)
    "\10\00\00\00\0d\00\00\00" "\01\00\00\00" "\00\02\00\00\01\00\00\00" "\10\02\00\00\02\00\00\00" "\01")
  (data $scopes (i32.const 512) "\1d\00\00\00\06\00\00\00")
  (data $actions (i32.const 528)
    "\23\00\00\00\04\00\00\00" "\2a\00\00\00\02\00\00\00"
    "\27\00\00\00\03\00\00\00" "\2a\00\00\00\02\00\00\00")

  (export "memory" (memory $memory))
  (export "cabi_realloc" (func $realloc))
  (export "reductor:reducer/model@1.0.0#describe" (func $describe))
  (export "reductor:reducer/model@1.0.0#[static]document.load" (func $load))
  (export "reductor:reducer/model@1.0.0#[method]document.apply" (func $apply))
  (export "reductor:reducer/model@1.0.0#[method]document.state" (func $state))
  (export "reductor:reducer/model@1.0.0#[dtor]document" (func $dtor))
  (export "reductor:reducer/model@1.0.0#upgrade" (func $upgrade))

  ;; Gives out addresses in order; a page more whenever the memory ends.
  (func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (loop $again
      (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
        (then
          (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
          (br $again))))
    (local.get $at))

  (func $describe (result i32) (i32.const 256))

  ;; An empty snapshot is a new document; else the one scope's state is a number.
  (func $load (param $list i32) (param $length i32) (result i32)
    (global.set $count (i32.const 0))
    (if (local.get $length)
      (then (call $parse (i32.load offset=8 (local.get $list)) (i32.load offset=12 (local.get $list)))))
    (global.set $heap (i32.const 65536))
    (call $loaded (call $handle_new (i32.const 7))))

  (func $loaded (param $handle i32) (result i32)
    (i32.store8 (i32.const 288) (i32.const 0))
    (i32.store (i32.const 292) (local.get $handle))
    (i32.const 288))

  (func $parse (param $at i32) (param $length i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (loop $digits
      (if (i32.lt_u (local.get $at) (local.get $end))
        (then
          (global.set $count
            (i32.add
              (i32.mul (global.get $count) (i32.const 10))
              (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $digits)))))

  ;; The parameters are in memory: the document, then the action; its type is at 16.
  (func $apply (param $params i32) (result i32)
    (global.set $heap (i32.const 65536))
    (if (result i32)
      (i32.eq (i32.load8_u (i32.load offset=16 (local.get $params))) (i32.const 71))
      (then (call $good))
      (else (call $bad))))

  (func $good (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (call $write (global.get $count))
    (call $ok))

  (func $bad (result i32) (unreachable))

  ;; The state is the text at 1024.
  (func $ok (result i32) (call $ok_at (i32.load (i32.const 1016)) (i32.load (i32.const 1020))))

  (func $ok_at (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 288) (i32.const 0))
    (i32.store (i32.const 292) (local.get $at))
    (i32.store (i32.const 296) (local.get $length))
    (i32.const 288))

  (func $reject (param $code i32) (param $code_length i32) (param $at i32) (param $length i32) (result i32)
    (i32.store8 (i32.const 288) (i32.const 1))
    (i32.store (i32.const 292) (local.get $code))
    (i32.store (i32.const 296) (local.get $code_length))
    (i32.store (i32.const 300) (local.get $at))
    (i32.store (i32.const 304) (local.get $length))
    (i32.const 288))

  ;; Writes a number as text, ending at 1064, and its place and length to 1016.
  (func $write (param $number i32)
    (local $at i32)
    (local.set $at (i32.const 1064))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.rem_u (local.get $number) (i32.const 10)) (i32.const 48)))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digits (local.get $number)))
    (i32.store (i32.const 1016) (local.get $at))
    (i32.store (i32.const 1020) (i32.sub (i32.const 1064) (local.get $at))))

  (func $state (param $document i32) (param $scope i32) (param $length i32) (result i32)
    (global.set $heap (i32.const 65536))
    (call $write (global.get $count))
    (i32.const 1016))

  (func $dtor (param $document i32))

  (func $upgrade (param $version i32) (param $list i32) (param $length i32) (result i32) (unreachable))
)
