"""The seven flows, one file each; subpackages hold what they are made of.

Prefect is imported by the flows, `runs` and `server` alone.
"""
