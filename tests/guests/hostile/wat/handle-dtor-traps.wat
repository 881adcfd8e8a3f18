;; BAD refuses; then the host drops the document to load it again.
(func $bad (result i32) (call $reject (i32.const 39) (i32.const 3) (i32.const 16) (i32.const 13)))
(func $dtor (param i32) (unreachable))
