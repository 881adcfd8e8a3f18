;; Another model at every call; only the first answer of an instance of its own counts.
(global $calls (mut i32) (i32.const 0))
(func $describe (result i32)
  (i32.store8 (i32.const 16) (i32.add (i32.const 104) (global.get $calls)))
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (i32.const 256))
(func $bad (result i32) (drop (call $describe)) (call $good))
