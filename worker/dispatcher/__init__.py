"""The webhook dispatcher: signed delivery of job results, with retries."""
