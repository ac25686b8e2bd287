"""Models: from weights to loaded, optimized pipelines on the device."""
