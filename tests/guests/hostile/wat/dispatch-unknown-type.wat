;; The job that follows is nobody's good action, so it is a bad one again.
(func $bad (result i32)
  (call $dispatch (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 16) (i32.const 7) (i32.const 29) (i32.const 6) (i32.const 42) (i32.const 2))
  (call $write (global.get $count))
  (call $ok))
