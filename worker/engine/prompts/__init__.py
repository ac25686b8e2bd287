"""Prompts: from words with marks of emphasis to what a model is steered by."""
