(func $bad (result i32) (i32.div_u (global.get $count) (i32.const 0)))
