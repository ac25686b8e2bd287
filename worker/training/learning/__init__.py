"""Optimization: courses, the denoiser's stages, and its loss."""
