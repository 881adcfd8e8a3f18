(func $bad (result i32) (i32.const -8))
