;; Only when there is something to load: not when it is tried, but after a refusal.
(func $load (param $list i32) (param $length i32) (result i32)
  (global.set $count (i32.const 0))
  (if (local.get $length)
    (then (call $parse (i32.load offset=8 (local.get $list)) (i32.load offset=12 (local.get $list)))))
  (if (global.get $count) (then (call $dispatch (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 35) (i32.const 4) (i32.const 29) (i32.const 6) (i32.const 42) (i32.const 2))))
  (call $loaded (call $handle_new (i32.const 7))))
(func $bad (result i32) (call $reject (i32.const 39) (i32.const 3) (i32.const 16) (i32.const 13)))
