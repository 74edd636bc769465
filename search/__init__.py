"""From a sentence to a moment: the index and its queries. May import `embedding` and `storage`."""
