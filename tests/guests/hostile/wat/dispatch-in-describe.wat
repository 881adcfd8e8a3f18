(func $describe (result i32) (call $dispatch (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 35) (i32.const 4) (i32.const 29) (i32.const 6) (i32.const 42) (i32.const 2)) (i32.const 256))
