(func $bad (result i32)
  (call $panicked (i32.const 16) (i32.const 13) (i32.const -2) (i32.const 13))
  (unreachable))
