;; Sixty-four inputs of 15 MiB each.
(func $bad (result i32)
  (local $turns i32)
  (drop (memory.grow (i32.const 300)))
  (memory.fill (i32.const 65536) (i32.const 49) (i32.const 15728640))
  (local.set $turns (i32.const 64))
  (loop $more
    (call $dispatch (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 35) (i32.const 4) (i32.const 29) (i32.const 6) (i32.const 65536) (i32.const 15728640))
    (br_if $more (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (call $good))
