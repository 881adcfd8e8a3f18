(start $go)
(func $go (loop $for_ever (br $for_ever)))
