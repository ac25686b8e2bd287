"""The S3-compatible object store: transfers, presigned links, the images of a job."""
