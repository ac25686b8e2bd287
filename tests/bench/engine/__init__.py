"""`python -m tests.bench.engine`: the generation engine beside a plain diffusers pipeline."""
