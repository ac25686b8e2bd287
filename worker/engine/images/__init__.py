"""Image files: decoding, colour conversion, encoding."""
