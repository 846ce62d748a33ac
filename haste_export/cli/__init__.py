"""The command line: `haste-export`, and everything else under `haste`."""
