(func $bad (result i32)
  (if (i32.eq (memory.grow (i32.sub (i32.const 1024) (memory.size))) (i32.const -1)) (then (unreachable)))
  (loop $again
    (memory.fill (i32.const 65536) (i32.const 170) (i32.const 67043328))
    (br $again))
  (unreachable))
