"""Captures: what outputs gave, in a file that can be read anywhere; the sink and the source mirror each other.

A capture is an Arrow IPC stream. Each of its rows is one reading of one output: ``output`` (its name), ``time`` (when it
was read), ``scale``, ``accounting`` (JSON), ``checksum``, and for every output of the file a column of that name with a list
of its records, null but for the output that was read. Records are as they were handed out: names, not numbers, so that
the reading machine needs no tables of another's. The schema's metadata has one key, ``sonde``: the header, as JSON.

Each row is one write to the file, so that what is cut short (a crash, a full disk) is readable up to the cut.
"""
