(table $table 100001 funcref)
