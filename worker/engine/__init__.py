"""The engine: generates images from requests and input images, without database or job queue."""
