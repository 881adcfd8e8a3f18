;; Makes and drops handles: each drop runs $dtor.
(func $bad (result i32)
  (local $turns i32)
  (local.set $turns (i32.const 200000))
  (loop $again
    (call $handle_drop (call $handle_new (i32.const 7)))
    (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (call $good))
