(func $load (param i32 i32) (result i32) (call $loaded (i32.const 12345)))
