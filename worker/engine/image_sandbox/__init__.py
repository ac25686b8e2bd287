"""Decoding of untrusted images in sandboxed subprocesses, whose crash does not harm the worker.

`pool` and `decoder` are the worker's side, `process` is the program of the subprocess. Nothing here
loads torch.
"""
