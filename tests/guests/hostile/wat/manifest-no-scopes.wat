(func $describe (result i32) (i32.store (i32.const 272) (i32.const 0)) (i32.const 256))
