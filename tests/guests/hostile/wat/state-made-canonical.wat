;; Does not say that its states are canonical; then the host makes them so.
(data $manifest (i32.const 256)
  "\10\00\00\00\0d\00\00\00" "\01\00\00\00" "\00\02\00\00\01\00\00\00" "\10\02\00\00\02\00\00\00" "\00")
(data (i32.const 2048) "{\"b\": 1.0, \"a\": 2}")
(func $bad (result i32) (drop (call $good)) (call $ok_at (i32.const 2048) (i32.const 18)))
