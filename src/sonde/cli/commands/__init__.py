"""The commands of ``sonde``, one file each: a module here with a ``COMMAND`` is one, no list names them."""
