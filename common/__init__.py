"""What both sides of the system agree on; knows neither HTTP routes nor pixels."""
