"""Masks: edited, shown to the model, and used to put its pictures back."""
