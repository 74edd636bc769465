"""Training of the embedding.

- `train` is the loop: epochs, checkpoints, resuming; `update` is one step of it. `checks` refuses inputs that do not
  fit.
- `startable` checks a training before PyTorch is loaded.
- `batches` makes batches of samples, `batch_loss` their loss, `distributed` spreads both over torchrun's processes.
- `checkpoint` reads and writes checkpoints, `checkpoint_selection` chooses the best one, `random_states` saves the
  states of random generators, `scalars` writes TensorBoard files.
"""
