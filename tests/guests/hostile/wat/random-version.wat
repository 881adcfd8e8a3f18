;; Says a version that it draws by lot: the same whenever it is asked for one document.
(import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))

(func $describe (result i32)
  (i32.store (i32.const 264)
    (i32.add (i32.const 1) (i32.and (i32.wrap_i64 (call $random)) (i32.const 0xffffff))))
  (i32.const 256))

(func $bad (result i32) (call $good))
