"""What browsers need: security headers, and CORS for the APIs of tenants."""
