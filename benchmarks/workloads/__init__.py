"""Work that is traced: loops, storms and crowds in C, and programs as people run them."""
