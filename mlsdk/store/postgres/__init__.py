"""A store in PostgreSQL, with or without a bucket for its blobs."""
