(data (i32.const 2048) "\1b[31mred\07" "\1b]8;;evil\07lib.rs:1:1")
(func $bad (result i32)
  (call $panicked (i32.const 2048) (i32.const 9) (i32.const 2057) (i32.const 20))
  (unreachable))
