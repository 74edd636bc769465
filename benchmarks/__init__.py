"""What reeldex is measured by: speed, memory and recall, as ratios in one run. docs/benchmarks.md shows the figures."""
