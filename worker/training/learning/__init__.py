"""Optimization: the training loop, the denoiser's training stages, and the denoiser's loss."""
