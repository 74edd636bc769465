"""Evaluation of the embedding on whole test sets.

- `evaluate` computes scores and results, `metrics` the ranks, recalls and confidence intervals.
- `localization` places the steps of tasks in videos, `localization_table` formats their recalls.
- `tables` formats results as tables, JSON and rankings; `published_results` holds the paper's figures.
"""
