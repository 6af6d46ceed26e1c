"""What code in files is called: functions, inlined ones, and where they stand in the source."""
