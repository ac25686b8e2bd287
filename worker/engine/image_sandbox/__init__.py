"""Strangers' pictures are decoded in processes of their own, which may die of them.

`pool` is the worker's side, `process` the program that is run. Nothing here loads torch.
"""
