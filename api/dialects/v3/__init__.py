"""The dialect compatible with the hosted Stable Diffusion API v3."""
