"""The subcommands: what each takes, and which function does it."""
