;; Function names are the guest's to choose, and backtraces carry them.
(func $bad (result i32) (call $"\1b[31mred\07\0d\0aat host.rs:1") (unreachable))
(func $"\1b[31mred\07\0d\0aat host.rs:1" (unreachable))
