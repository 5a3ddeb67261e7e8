"""The code of a run: its files, what git says of them, where its modules come from, what of it is in memory."""
