;; Grows page by page and writes to each.
(func $bad (result i32)
  (loop $more
    (i32.store (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)) (i32.const 1))
    (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
  (call $good))
