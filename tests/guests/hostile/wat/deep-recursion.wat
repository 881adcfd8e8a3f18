(func $bad (result i32) (i32.add (call $bad) (i32.const 1)))
