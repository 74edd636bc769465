"""What `import reeldex` offers, built on the packages; nothing imports it but `reeldex` itself."""
