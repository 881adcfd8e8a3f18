(data (i32.const 2048) "1 2")
(func $bad (result i32) (call $ok_at (i32.const 2048) (i32.const 3)))
