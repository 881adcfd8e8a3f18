;; Remembers that it is dead. Whoever calls it then gets another trap than the first.
(global $dead (mut i32) (i32.const 0))
(func $bad (result i32) (global.set $dead (i32.const 1)) (unreachable))
(func $good (result i32)
  (drop (i32.div_u (i32.const 1) (i32.eqz (global.get $dead))))
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (call $write (global.get $count))
  (call $ok))
