;; Its state depends on how many actions this instance has seen.
(global $calls (mut i32) (i32.const 0))
(func $bad (result i32)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (global.set $count (i32.add (global.get $count) (global.get $calls)))
  (call $write (global.get $count))
  (call $ok))
