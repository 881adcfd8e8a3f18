;; Allowed: it changes nothing.
(func $load (param $list i32) (param $length i32) (result i32)
  (call $log (i32.const 1) (i32.const 16) (i32.const 13))
  (global.set $count (i32.const 0))
  (if (local.get $length)
    (then (call $parse (i32.load offset=8 (local.get $list)) (i32.load offset=12 (local.get $list)))))
  (call $loaded (call $handle_new (i32.const 7))))
(func $bad (result i32) (call $good))
