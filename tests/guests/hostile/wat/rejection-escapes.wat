(data (i32.const 2048) "\1b[31mE" "no\0d\0a\1b]0;owned\07")
(func $bad (result i32) (call $reject (i32.const 2048) (i32.const 6) (i32.const 2054) (i32.const 14)))
