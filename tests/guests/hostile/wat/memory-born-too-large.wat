(memory $memory 1025)
