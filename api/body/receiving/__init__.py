"""Receive request bodies within limits, before anything is built from them."""
