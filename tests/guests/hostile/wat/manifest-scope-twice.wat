(data $scopes (i32.const 512) "\1d\00\00\00\06\00\00\00" "\1d\00\00\00\06\00\00\00")
(func $describe (result i32) (i32.store (i32.const 272) (i32.const 2)) (i32.const 256))
