;; Says for ever, in two texts of 8 MB, that it panics.
(func $bad (result i32)
  (drop (memory.grow (i32.const 200)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 8388608))
  (loop $more
    (call $panicked (i32.const 65536) (i32.const 8000000) (i32.const 65536) (i32.const 8000000))
    (br $more))
  (unreachable))
