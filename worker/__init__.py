"""What happens after the answer: generation, webhooks, sweeping."""
