(table $table 1 10 funcref)
(func $bad (result i32)
  (local $turns i32)
  (local.set $turns (i32.const 1000))
  (loop $again
    (if (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1)) (then (unreachable)))
    (br_if $again (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
  (call $good))
