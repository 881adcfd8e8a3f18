;; Every BAD asks for another BAD: the chain ends where the host says.
(func $bad (result i32)
  (call $dispatch (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 39) (i32.const 3) (i32.const 29) (i32.const 6) (i32.const 42) (i32.const 2))
  (call $write (global.get $count))
  (call $ok))
