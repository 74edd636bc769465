"""The parts of `benchmarks.suite`: each has `measure(size, folder)`, which checks outputs and yields figures."""
