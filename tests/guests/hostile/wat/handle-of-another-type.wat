;; Uses a handle of a resource of its own as a handle of a document.
(import "[export]hostile:other/things" "[resource-new]thing" (func $thing_new (param i32) (result i32)))
(export "hostile:other/things#[constructor]thing" (func $thing))
(func $thing (result i32) (call $thing_new (i32.const 5)))
(func $bad (result i32) (drop (call $handle_rep (call $thing))) (call $good))
