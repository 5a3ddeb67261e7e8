"""The server: an ASGI application over any store, for teams. Started by `mlsdk serve`."""
