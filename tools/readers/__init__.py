"""Programs that read the profiles we write: Go's pprof and speedscope, fetched into a cache for the tests, never installed."""
