"""Iterators that bring an output up to date: run at its start, and before its table is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.bpf.link.iterator import IteratorLink
    from sonde.bpf.object import Object
    from sonde.probe import Stream, Table, Walk


class Walks:
    """The iterators of one output in a loaded object, which closes them, too. Linux 5.8; over a map's elements 5.9."""

    def __init__(self, loaded: Object, output: Table | Stream) -> None:
        self._loaded, self._output = loaded, output
        self._before_read = [self._open(walk) for walk in output.before_read if self._is_loaded(walk)]

    @staticmethod
    def programs_of(output: Table | Stream) -> tuple[str, ...]:
        """Name the programs that are to be loaded for it."""
        return tuple(walk.program for walk in (*output.at_start, *output.before_read))

    def begin(self) -> None:
        """Run what runs once, when counting has begun."""
        for walk in filter(self._is_loaded, self._output.at_start):
            with self._open(walk) as link:
                link.read()

    def refresh(self) -> None:
        """Run what runs before the table is read."""
        for link in self._before_read:
            link.read()

    def _is_loaded(self, walk: Walk) -> bool:
        """Tell whether there is such a walk: variants may leave it out."""
        return walk.program in self._loaded.programs

    def _open(self, walk: Walk) -> IteratorLink:
        # Imported here: few probes have any.
        from sonde.bpf.link.iterator import Iterator

        over = self._loaded.maps[walk.map] if walk.map else None
        return Iterator(map=over).attach(self._loaded.programs[walk.program])

    def __contains__(self, link: object) -> bool:
        return any(link is each for each in self._before_read)

    def close(self) -> None:
        """Free them; again is fine."""
        for link in self._before_read:
            link.close()
