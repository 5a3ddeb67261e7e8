"""The folder in which a program runs again: its code, its data, and paths of then as paths of now."""
