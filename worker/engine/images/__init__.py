"""Images: decoding, colour conversion, encoding."""
