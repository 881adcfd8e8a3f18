(func $bad (result i32)
  (local $turns i32)
  (drop (memory.grow (i32.const 200)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 8388608))
  (local.set $turns (i32.const 20))
  (loop $more
    (call $panicked (i32.const 65536) (i32.const 8000000) (i32.const 65536) (i32.const 8000000))
    (br_if $more (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (unreachable))
