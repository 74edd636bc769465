"""Progress of work under way: a bar, log lines, an artifact."""
