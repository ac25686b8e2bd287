"""The webhook dispatcher: signed delivery of results, with retries."""
