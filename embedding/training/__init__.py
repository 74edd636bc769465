"""Training the embedding: batches, steps, processes, checkpoints."""
