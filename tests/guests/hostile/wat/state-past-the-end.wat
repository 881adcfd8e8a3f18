(func $bad (result i32) (call $ok_at (i32.const 1024) (i32.const 100000000)))
