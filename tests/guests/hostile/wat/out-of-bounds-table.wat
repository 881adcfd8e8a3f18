(table $table 1 funcref)
(func $bad (result i32) (drop (table.get $table (i32.const 1))) (i32.const 0))
