"""Problem details, RFC 9457: how the faces that speak in HTTP statuses tell errors."""
