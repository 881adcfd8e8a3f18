(func $bad (result i32) (call $ok_at (i32.const -8) (i32.const 4)))
