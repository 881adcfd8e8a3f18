(func $bad (result i32) (call $log (i32.const 99) (i32.const 16) (i32.const 2)) (call $good))
