(func $bad (result i32) (drop (call $good)) (i32.store8 (i32.const 288) (i32.const 7)) (i32.const 288))
