"""What the repository is checked and released with; no part of reeldex."""
