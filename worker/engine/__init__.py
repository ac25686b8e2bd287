"""Pixels only: a request and pictures in, pictures out."""
