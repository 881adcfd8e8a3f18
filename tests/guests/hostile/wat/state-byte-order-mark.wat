(data (i32.const 2048) "\ef\bb\bf1")
(func $bad (result i32) (call $ok_at (i32.const 2048) (i32.const 4)))
