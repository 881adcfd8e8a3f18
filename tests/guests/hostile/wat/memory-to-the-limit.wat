;; Grows to 64 MiB exactly and fills it.
(func $bad (result i32)
  (if (i32.eq (memory.grow (i32.sub (i32.const 1024) (memory.size))) (i32.const -1)) (then (unreachable)))
  (memory.fill (i32.const 65536) (i32.const 1) (i32.const 67043328))
  (call $good))
