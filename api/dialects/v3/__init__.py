"""The dialect of the hosted Stable Diffusion API v3."""
