"""What runs inside the training process: pins, observations, one report per process."""
