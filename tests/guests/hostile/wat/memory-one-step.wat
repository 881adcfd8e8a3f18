(func $bad (result i32) (drop (memory.grow (i32.const 1100))) (call $good))
