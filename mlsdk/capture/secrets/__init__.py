"""Secrets are found and taken out, by name, by form, by how random they look; what must be compared is keyed."""
