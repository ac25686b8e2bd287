"""How the small model that ships with the project is made and measured; nothing else uses it."""
