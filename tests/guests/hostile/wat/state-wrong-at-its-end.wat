;; Returns `[1.0,1.0,…`: 16 MiB less a few bytes, which the host reads to the end to find no end.
(data $manifest (i32.const 256)
  "\10\00\00\00\0d\00\00\00" "\01\00\00\00" "\00\02\00\00\01\00\00\00" "\10\02\00\00\02\00\00\00" "\00")
(func $bad (result i32)
  (local $length i32)
  (drop (memory.grow (i32.const 300)))
  (i32.store8 (i32.const 65535) (i32.const 91))
  (i32.store (i32.const 65536) (i32.const 0x2c302e31))
  (local.set $length (i32.const 4))
  (loop $double
    (memory.copy (i32.add (i32.const 65536) (local.get $length)) (i32.const 65536) (local.get $length))
    (local.set $length (i32.shl (local.get $length) (i32.const 1)))
    (br_if $double (i32.lt_u (local.get $length) (i32.const 16777216))))
  (call $ok_at (i32.const 65535) (i32.const 16777216)))
