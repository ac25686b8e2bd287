"""Decode untrusted images in sandboxed subprocesses, so that a crash does not harm the worker.

`pool` and `decoder` run in the worker, `process` is the program of the subprocess. No module of
this package imports torch.
"""
