(func $describe (result i32) (i32.store (i32.const 264) (i32.const 0)) (i32.const 256))
