"""Tests that share one `reeldex up`."""
