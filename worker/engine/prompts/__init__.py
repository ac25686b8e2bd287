"""Prompts: from text with emphasis marks to embeddings."""
