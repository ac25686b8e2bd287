"""Decoding of untrusted images in sandbox processes, which may crash without harm.

`pool` is the worker's side, `process` the program that is run. Nothing here loads torch.
"""
