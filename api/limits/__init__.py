"""What a tenant's plan allows it to send: requests, waiting jobs, credits."""
