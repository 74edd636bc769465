"""Where the figures in README.md come from. Run them with `make bench`, or one by one: python -m benchmarks.memory."""
