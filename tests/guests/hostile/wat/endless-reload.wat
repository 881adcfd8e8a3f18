;; Loads a document that has a history for ever; BAD refuses, so that it is loaded again.
(func $load (param $list i32) (param $length i32) (result i32)
  (global.set $count (i32.const 0))
  (if (local.get $length)
    (then (call $parse (i32.load offset=8 (local.get $list)) (i32.load offset=12 (local.get $list)))))
  (loop $for_ever (br_if $for_ever (global.get $count)))
  (call $loaded (call $handle_new (i32.const 7))))
(func $bad (result i32) (call $reject (i32.const 39) (i32.const 3) (i32.const 16) (i32.const 13)))
