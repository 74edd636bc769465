"""Images, manifests and what they install."""
