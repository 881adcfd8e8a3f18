;; Recurses on a stack of its own, in memory, until that ends below address zero.
(global $stack (mut i32) (i32.const 65536))
(func $bad (result i32) (call $even) (unreachable))
(func $even (call $push) (call $odd) (call $push))
(func $odd (call $push) (call $even) (call $push))
(func $push
  (global.set $stack (i32.sub (global.get $stack) (i32.const 1024)))
  (i32.store (global.get $stack) (i32.const 0)))
