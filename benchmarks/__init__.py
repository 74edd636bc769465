"""The measurements behind docs/benchmarks.md. Run them with `make bench`, or one by one: python -m benchmarks.memory."""
