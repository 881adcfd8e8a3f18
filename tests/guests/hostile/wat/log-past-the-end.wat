(func $bad (result i32) (call $log (i32.const 2) (i32.const 16) (i32.const -1)) (call $good))
