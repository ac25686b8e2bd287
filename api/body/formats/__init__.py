"""Parse received bodies: JSON, form-urlencoded and multipart."""
