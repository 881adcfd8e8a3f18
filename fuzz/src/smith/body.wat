;; What a body may import from the shell, and what it must export. Only the types count.
(module
  (import "shell" "memory" (memory 1))
  (import "shell" "dispatch" (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "shell" "log" (func (param i32 i32 i32)))
  (import "shell" "panicked" (func (param i32 i32 i32 i32)))
  (import "shell" "document-new" (func (param i32) (result i32)))
  (import "shell" "document-drop" (func (param i32)))
  (func (export "run") (param i32 i32) (result i32) unreachable))
