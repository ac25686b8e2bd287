"""The engine beside a plain diffusers pipeline: `make bench-engine`."""
