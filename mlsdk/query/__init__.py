"""The filter language: text to a tree (`parse`), the tree on a record (`evaluate`), the tree as SQL (`sql`)."""
