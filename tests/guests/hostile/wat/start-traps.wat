(start $go)
(func $go (unreachable))
