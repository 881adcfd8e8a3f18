;; Imports standard input with a kind of stream of its own.
(import "wasi:cli/stdin@0.2.3" "get-stdin" (func $get_stdin (result i32)))

(func $bad (result i32) (drop (call $get_stdin)) (call $good))
