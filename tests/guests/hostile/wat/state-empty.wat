(data (i32.const 2048) "")
(func $bad (result i32) (call $ok_at (i32.const 2048) (i32.const 0)))
