(func $bad (result i32) (memory.copy (i32.const 0) (i32.const -16) (i32.const 32)) (i32.const 0))
