"""The `threadwax` command: starts, supervises and examines processes; holds no logic of theirs."""
