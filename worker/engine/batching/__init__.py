"""Many images at once: samples of different requests step together, each at its own time."""
