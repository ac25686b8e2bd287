"""The engine: generates images from a request and input images; no database, network or queue."""
