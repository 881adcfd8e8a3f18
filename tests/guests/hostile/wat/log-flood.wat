(func $bad (result i32)
  (local $turns i32)
  (local.set $turns (i32.const 100000))
  (loop $more
    (call $log (i32.const 2) (i32.const 16) (i32.const 13))
    (br_if $more (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (call $good))
