"""What is pinned around and inside the training process, and what took effect."""
