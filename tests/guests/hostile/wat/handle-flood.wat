(func $bad (result i32) (loop $more (drop (call $handle_new (i32.const 7))) (br $more)) (unreachable))
