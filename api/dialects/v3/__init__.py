"""The face that speaks the hosted Stable Diffusion API v3."""
