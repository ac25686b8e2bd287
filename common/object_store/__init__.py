"""The S3-compatible object store: transfers, presigned links, and the images of a job."""
