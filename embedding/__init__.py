"""Features and sentences into one space: the text-video embedding. May import `storage` alone."""
