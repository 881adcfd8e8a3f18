;; Only the type of a BAD action has three bytes.
(func $realloc (param i32 i32 i32 i32) (result i32)
  (if (i32.eq (local.get 3) (i32.const 3)) (then (unreachable)))
  (call $give (local.get 2) (local.get 3)))
(func $give (param $align i32) (param $size i32) (result i32)
  (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.get $heap)
  (global.set $heap (i32.add (global.get $heap) (local.get $size))))
