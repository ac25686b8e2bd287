"""One verb per transition; the only SQL in the product."""
