"""reeldex makes folders of raw videos searchable."""
