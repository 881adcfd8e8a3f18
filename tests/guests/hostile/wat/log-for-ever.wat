(func $bad (result i32)
  (loop $more (call $log (i32.const 2) (i32.const 16) (i32.const 13)) (br $more))
  (unreachable))
