"""``sonde filter``: rules that a person writes, compiled into maps, and the XDP program that obeys them."""
