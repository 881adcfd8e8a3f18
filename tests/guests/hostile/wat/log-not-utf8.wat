(data (i32.const 2048) "\ff\fe")
(func $bad (result i32) (call $log (i32.const 2) (i32.const 2048) (i32.const 2)) (call $good))
