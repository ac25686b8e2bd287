"""Masks: editing, cropping, the mask given to the model, and composing the result."""
