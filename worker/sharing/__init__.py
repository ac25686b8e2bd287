"""How queues and tenants share a worker: claims, slots, decoders, and jobs that run alone."""
