;; Asks over and over for more than its own type allows: `memory.grow` must answer -1, as
;; WebAssembly says, and what was not given must not count.
(memory $memory 2 8)
(func $bad (result i32)
  (local $turns i32)
  (local.set $turns (i32.const 1000))
  (loop $again
    (if (i32.ne (memory.grow (i32.const 100)) (i32.const -1)) (then (unreachable)))
    (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
  (call $good))
