(func $bad (result i32) (call $innermost) (i32.const 0))
(func $innermost (unreachable))
