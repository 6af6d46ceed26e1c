"""Profiles as files for other programs: folded stacks, pprof, speedscope; each module's function gives a file's bytes."""
