"""Continuous batching: images of different requests share UNet calls, each at its own timestep."""
