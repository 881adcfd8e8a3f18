(func $bad (result i32)
  (drop (memory.grow (i32.const 300)))
  (memory.fill (i32.const 65536) (i32.const 49) (i32.const 17825792))
  (call $ok_at (i32.const 65536) (i32.const 17825792)))
