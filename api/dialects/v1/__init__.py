"""The native face: what a tenant does with its own API key and v3 has no words for."""
