;; Cannot load a new document, and says so in red.
(data (i32.const 2048) "\1b[31mno\07")
(func $load (param i32 i32) (result i32)
  (i32.store8 (i32.const 288) (i32.const 1))
  (i32.store (i32.const 292) (i32.const 2048))
  (i32.store (i32.const 296) (i32.const 8))
  (i32.const 288))
