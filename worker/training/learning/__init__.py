"""Optimization: courses of steps, stages and the loss."""
