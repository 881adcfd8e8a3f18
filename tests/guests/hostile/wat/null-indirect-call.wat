(table $table 1 funcref)
(func $bad (result i32) (call_indirect $table (result i32) (i32.const 0)))
