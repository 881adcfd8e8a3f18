;; Its state is the address of its parameters, from a heap that never shrinks.
(func $realloc (param i32 i32 i32 i32) (result i32) (call $give (local.get 2) (local.get 3)))
(func $give (param $align i32) (param $size i32) (result i32)
  (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.get $heap)
  (global.set $heap (i32.add (global.get $heap) (local.get $size))))
(func $apply (param $params i32) (result i32)
  (if (result i32)
    (i32.eq (i32.load8_u (i32.load offset=16 (local.get $params))) (i32.const 71))
    (then (call $good))
    (else
      (global.set $count (local.get $params))
      (call $write (global.get $count))
      (call $ok))))
