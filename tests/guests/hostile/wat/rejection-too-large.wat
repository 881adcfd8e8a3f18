(func $bad (result i32)
  (drop (memory.grow (i32.const 400)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 16777216))
  (call $reject (i32.const 65536) (i32.const 9000000) (i32.const 65536) (i32.const 9000000)))
