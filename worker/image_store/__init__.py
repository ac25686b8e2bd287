"""The object store as a worker uses it: an outage costs neither attempts nor generated images."""
