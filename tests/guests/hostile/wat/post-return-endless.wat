(global $was_bad (mut i32) (i32.const 0))
(func $bad (result i32) (global.set $was_bad (i32.const 1)) (call $good))
(export "cabi_post_reductor:reducer/model@1.0.0#[method]document.apply" (func $after))
(func $after (param i32) (loop $for_ever (br_if $for_ever (global.get $was_bad))))
