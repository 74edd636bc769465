"""Evaluating the embedding: scores, metrics, tables, and the published results."""
