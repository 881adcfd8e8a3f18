(data (i32.const 2048) "document")
(data $scopes (i32.const 512) "\00\08\00\00\08\00\00\00")
