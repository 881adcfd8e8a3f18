(func $bad (result i32) (drop (call $handle_rep (i32.const 12345))) (call $good))
