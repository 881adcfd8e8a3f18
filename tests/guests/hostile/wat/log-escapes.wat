(data (i32.const 2048) "\1b[2J\1b]0;owned\07\0d\0aINFO forged: line\c2\9b31m\e2\80\ae")
(func $bad (result i32) (call $log (i32.const 4) (i32.const 2048) (i32.const 43)) (call $good))
