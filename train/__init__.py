"""Training: data, colour augmentation, P_train, losses, the loop."""
