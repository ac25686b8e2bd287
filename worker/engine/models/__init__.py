"""Models: from weights somewhere to parts on the device, ready to run."""
