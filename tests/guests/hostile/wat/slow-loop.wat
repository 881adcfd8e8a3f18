;; Burns nine tenths of the fuel of a call, 5 units a turn.
(func $bad (result i32)
  (local $turns i32)
  (local.set $turns (i32.const 18000000))
  (loop $slow
    (br_if $slow (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (call $good))
