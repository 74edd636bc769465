"""Evaluation of the embedding on whole test sets.

- `evaluate` computes scores and results, `metrics` the ranks, recalls and confidence intervals.
- `tables` formats results as tables, JSON and rankings; `published_results` holds the paper's figures.
"""
