(data (i32.const 2048) "\"\ff\fe\"")
(func $bad (result i32) (call $ok_at (i32.const 2048) (i32.const 4)))
