"""Estimates of when jobs start and end: pure functions of a queue's state."""
