;; The upper half of what the machine makes of infinity minus infinity, and of a payload.
(global $infinity (mut f64) (f64.const inf))
(func $bad (result i32)
  (global.set $count
    (i32.wrap_i64 (i64.shr_u
      (i64.reinterpret_f64
        (f64.add (f64.sub (global.get $infinity) (global.get $infinity)) (f64.const -nan:0x123456789)))
      (i64.const 32))))
  (call $write (global.get $count))
  (call $ok))
