"""The `reeldex` command: one file per group of commands."""
