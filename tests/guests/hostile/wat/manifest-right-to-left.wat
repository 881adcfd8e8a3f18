;; U+202E turns what follows it around.
(data (i32.const 2048) "evil/\e2\80\aecod")
(func $describe (result i32)
  (i32.store (i32.const 256) (i32.const 2048))
  (i32.store (i32.const 260) (i32.const 11))
  (i32.const 256))
