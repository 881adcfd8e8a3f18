;; Four lines of 2 MiB.
(func $bad (result i32)
  (local $turns i32)
  (drop (memory.grow (i32.const 100)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 2097152))
  (local.set $turns (i32.const 4))
  (loop $more
    (call $log (i32.const 2) (i32.const 65536) (i32.const 2097152))
    (br_if $more (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (call $good))
