"""HTTP connections: parsing below ASGI, deadlines, limits, and which connection to close first."""
