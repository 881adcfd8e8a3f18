;; A number of a million digits.
(func $bad (result i32)
  (drop (memory.grow (i32.const 16)))
  (memory.fill (i32.const 65536) (i32.const 49) (i32.const 1000000))
  (call $ok_at (i32.const 65536) (i32.const 1000000)))
