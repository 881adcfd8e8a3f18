(func $bad (result i32) (drop (memory.grow (i32.const -1))) (call $good))
