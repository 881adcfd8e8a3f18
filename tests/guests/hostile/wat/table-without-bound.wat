(table $table 1 funcref)
(func $bad (result i32)
  (loop $more
    (br_if $more (i32.ne (table.grow $table (ref.func $good) (i32.const 1000)) (i32.const -1))))
  (call $good))
(elem declare func $good)
