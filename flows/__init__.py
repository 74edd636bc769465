"""What Prefect runs and the `reeldex` command types: tables of contents over the other packages."""
