(func $bad (result i32)
  (call $dispatch (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 35) (i32.const 4) (i32.const 16) (i32.const 7) (i32.const 42) (i32.const 2))
  (call $good))
