"""The object store: transfers, presigned links, the images of a job."""
