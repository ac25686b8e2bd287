"""The engine: generates images from requests and input images; no database, network or queue."""
