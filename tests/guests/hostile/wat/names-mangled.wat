(func $bad (result i32) (call $_ZN7hostile6deeper4sink17h0123456789abcdefE) (unreachable))
(func $_ZN7hostile6deeper4sink17h0123456789abcdefE (unreachable))
